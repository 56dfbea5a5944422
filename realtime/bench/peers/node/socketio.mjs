// Socket.IO on Node: rooms, with its Redis adapter when REDIS_URL is set.
//
// It checks no token: its authentication is a middleware that the application writes, and
// here there is none. WebSockets only, no long polling before. Compression is off, which is
// its default.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

if (process.env.REDIS_URL) {
  const publisher = createClient({ url: process.env.REDIS_URL });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

io.on("connection", (socket) => {
  socket.on("subscribe", async (channel, done) => {
    await socket.join(channel);
    done(channel);
  });
  socket.on("publish", (channel, data) => io.to(channel).emit("message", data));
});

const port = Number(process.env.PORT ?? 0);
http.listen({ host: "127.0.0.1", port, backlog: 4096 }, () => {
  console.log(`listening on ${http.address().port}`);
});

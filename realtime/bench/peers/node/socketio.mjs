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
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  pingInterval: 1000 * Number(process.env.KEEPALIVE_S ?? 25),
});

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

http.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });

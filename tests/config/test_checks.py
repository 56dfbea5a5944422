"""What must hold between settings, and what is remarked on."""

from __future__ import annotations

import pytest

from realtime.config import ConfigErrors, is_loopback, load, warnings
from tests.signing import SECRET, certificate, public_pem, rsa_key


def problem(**settings: object) -> str:
    """The only error of these settings, ``section__key`` each."""
    overrides = {key.replace("__", ".", 1): value for key, value in settings.items()}
    with pytest.raises(ConfigErrors) as caught:
        load(None, {}, overrides)
    (error,) = caught.value.errors
    return str(error).replace(" (from the command line)", "")


def loaded(**settings: object):
    """The configuration of these settings."""
    overrides = {key.replace("__", ".", 1): value for key, value in settings.items()}
    return load(None, {}, overrides)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]
)
def test_development_is_allowed_on_loopback(host):
    """Only programs of this machine can reach it."""
    assert is_loopback(host)
    assert loaded(server__dev=True, server__host=host).server.dev


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.nip.io"]
)
def test_development_is_refused_elsewhere(host):
    """Others could reach it, and everything is allowed to them."""
    assert not is_loopback(host)
    told = problem(server__dev=True, server__host=host)
    assert told.startswith("server.dev")
    assert f"host is {host}" in told


def test_a_certificate_and_its_key_go_together(tmp_path):
    """Either both or neither, and both readable."""
    cert, key = certificate(tmp_path)
    both = loaded(server__tls_cert=str(cert), server__tls_key=str(key))
    assert both.server.tls_key == str(key)
    assert "tls_cert: needs tls_key too" in problem(server__tls_cert=str(cert))
    assert "tls_key: needs tls_cert too" in problem(server__tls_key=str(key))
    missing = str(tmp_path / "none")
    told = problem(server__tls_cert=missing, server__tls_key=str(key))
    assert "cannot be read: No such file" in told


def test_a_certificate_is_tried_with_its_key(tmp_path):
    """What is no certificate, or another's key, is told before anything starts."""
    cert, key = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, wrong = certificate(other)
    assert "do not fit" in problem(
        server__tls_cert=str(cert), server__tls_key=str(wrong)
    )
    cert.write_text("nothing")
    told = problem(server__tls_cert=str(cert), server__tls_key=str(key))
    assert told.startswith("server.tls_cert")
    assert f"{cert}" in told


def test_a_key_with_a_password_is_refused(tmp_path):
    """OpenSSL would ask for it on the terminal, and wait."""
    cert, key = certificate(tmp_path, b"secret")
    told = problem(server__tls_cert=str(cert), server__tls_key=str(key))
    assert "without a password" in told


def test_several_workers_need_redis():
    """Each would count for itself."""
    assert "need Redis" in problem(server__workers=2)
    assert loaded(server__workers=2, redis__url="redis://h").server.workers == 2


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://user:pw@h",
        "unix:///run/redis.sock?db=0",
        "redis+cluster://a:7000,b:7001",
        "rediss+sentinel://a:26379/main/0",
    ],
)
def test_redis_may_be_of_any_kind(url):
    """One server, a cluster, or sentinels, with TLS or without."""
    assert loaded(redis__url=url).redis.url == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "user:hush@localhost",
        "http://user:hush@h",
        "redis",
        "redis://:hush@h:port",
        "redis+cluster://:hush@a,b/3",
        "redis+sentinel://:hush@a",
        "redis://:hush@h?nonsense=1",
    ],
)
def test_another_address_of_redis_is_refused_unquoted(url):
    """It may hold a password."""
    told = problem(redis__url=url)
    assert told.startswith("redis.url")
    assert "hush" not in told


def test_the_prefix_must_not_move_keys_of_a_cluster():
    """Braces are hash tags there."""
    assert "redis.prefix" in problem(redis__prefix="{a}")


def test_keepalive_has_its_default_within_bounds():
    """Neither below min nor above max, and min not above max."""
    assert "is not between" in problem(limits__keepalive_default="2s")
    told = problem(limits__keepalive_min="2h")
    assert told.startswith("limits.keepalive_min")
    assert "2h is more than keepalive_max (30m)" in told


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"limits__max_frame": "16KiB", "limits__max_publication": 1000}, "max_event"),
        ({"limits__max_frame": "32KiB"}, "limits.max_publication"),
        ({"limits__max_outbox": "32KiB"}, "max_outbox (32KiB)"),
    ],
)
def test_a_part_may_not_be_larger_than_what_carries_it(settings, told):
    """It could never arrive."""
    assert told in problem(**settings)


@pytest.mark.parametrize(
    "origin",
    ["*", "https://a.example", "http://localhost:3000", "capacitor://localhost"],
)
def test_an_origin_is_scheme_and_host(origin):
    """As browsers and shells of apps send it."""
    assert loaded(server__allowed_origins=[origin]).server.allowed_origins == (origin,)


@pytest.mark.parametrize(
    "origin", ["a.example", "https://a.example/", "https://", "**"]
)
def test_what_no_browser_sends_is_no_origin(origin):
    """It would never match, and nobody would know why."""
    assert "server.allowed_origins: must be" in problem(
        server__allowed_origins=[origin]
    )


def test_a_proxy_is_an_address_or_a_network():
    """A name could be made to point elsewhere."""
    proxies = ["10.0.0.0/8", "::1", "192.168.1.7", "unix"]
    assert loaded(server__trusted_proxies=proxies).server.trusted_proxies
    for wrong in ("proxy.local", "10.0.0.1/8"):
        told = problem(server__trusted_proxies=["::1", wrong])
        assert told.startswith("server.trusted_proxies: ")
        assert wrong in told


@pytest.mark.parametrize("url", ["login.example.com", "file:///etc/keys", "https://"])
def test_keys_are_fetched_by_http(url):
    """No other scheme is followed."""
    assert "auth.jwks_url: must be an address" in problem(auth__jwks_url=url)


def test_unusable_keys_are_found_at_start():
    """Not when the first client comes."""
    assert "auth.hmac_secret" in problem(auth__hmac_secret="short")
    assert "auth.public_key" in problem(auth__public_key="nonsense")
    assert loaded(auth__public_key=public_pem(rsa_key())).auth.public_key


def test_what_was_shown_in_the_place_of_a_secret_is_no_secret():
    """The output of check may be pasted back, but its secrets are not there."""
    for settings in (
        {"auth__hmac_secret": "(set)" * 8},
        {"redis__url": "redis://:(set)@h"},
    ):
        assert "put the secret itself" in problem(**settings)


def test_a_server_that_nobody_can_use_is_remarked_on():
    """It is allowed: backends may be all there is."""
    (remark,) = warnings(loaded())
    assert "no client can connect" in remark
    assert warnings(loaded(auth__hmac_secret=SECRET)) == []
    assert warnings(loaded(auth__anonymous=True)) == []


def test_what_is_dangerous_is_remarked_on():
    """Development, and keys over a connection that anybody may change."""
    assert "everybody" in warnings(loaded(server__dev=True))[0]
    assert "not https" in warnings(loaded(auth__jwks_url="http://idp:8080/jwks"))[0]

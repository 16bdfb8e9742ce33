"""Who may ask, and from where."""

import pytest
from served import HI, client

from nybble.errors import RequestError
from nybble.server.keys import checked_keys, keys_of_file
from nybble.testing import MockBackend

CHAT = "/v1/chat/completions"
PATHS = [
    "/v1/models",
    "/metrics",
    "/openapi.json",
    "/api/tags",
    "/nothing",
    "/health/",
    "/%2fhealth",
    "/v1//chat/completions",
    "/%2e%2e",
]


@pytest.fixture
def guarded():
    return client(MockBackend(), keys=("first", "second"))


@pytest.mark.parametrize("path", PATHS)
def test_everything_but_health_and_the_page_needs_a_key(guarded, path):
    """S39: it is decided on the path as it was sent."""
    assert guarded.get("/").status_code == 200
    assert guarded.get("/health").status_code == 200
    for key in ("", "wrong", "firs", "first\x00", "second first"):
        answer = guarded.get(path, headers={"Authorization": f"Bearer {key}".encode()})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get(f"{path}?api_key=first").status_code == 401
    for headers in ({"Authorization": "bearer second"}, {"x-api-key": "first"}):
        assert guarded.get(path, headers=headers).status_code in (200, 404)


def test_without_a_key_nothing_of_the_body_is_read(guarded):
    answer = guarded.post(CHAT, content=b"{", headers={"x-api-key": "wrong"})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"


def test_tenants_do_not_share_what_is_computed():
    backend = MockBackend()
    asker = client(backend, keys=("first", "second"))
    for key in ("first", "second", "first"):
        assert asker.post(CHAT, json={"messages": HI}, headers={"x-api-key": key}).status_code == 200
    salts = [request.params.cache_salt for request in backend.requests]
    assert salts[0] == salts[2] != salts[1] and "first" not in salts[0]
    client(backend).post(CHAT, json={"messages": HI})
    assert backend.requests[-1].params.cache_salt is None


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:80", "10.1.2.3:8000", "my.name"]
)
def test_hosts_that_are_this_server(host):
    asker = client(MockBackend(), allowed_hosts=("my.name",))
    assert asker.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"])
def test_hosts_that_are_not(host):
    """S40: a name of an attacker's that leads here (DNS rebinding)."""
    assert client(MockBackend()).get("/health", headers={"host": host}).status_code == 403
    assert (
        client(MockBackend(), allowed_hosts=("*",)).get("/health", headers={"host": host}).status_code == 200
    )


def test_pages_of_others_may_not_ask():
    """S40."""
    asker = client(MockBackend())
    for origin in ("http://evil.example", "null", "http://localhost:9"):
        assert asker.post(CHAT, json={"messages": HI}, headers={"origin": origin}).status_code == 403
    own = asker.post(CHAT, json={"messages": HI}, headers={"origin": "http://localhost"})
    assert own.status_code == 200 and not [name for name in own.headers if name.startswith("access-control")]
    assert asker.options(CHAT).status_code == 405


def test_unknown_paths_have_an_error_of_their_api():
    asker = client(MockBackend())
    assert asker.get("/v1/nothing").json()["error"]["type"] == "not_found_error"
    assert isinstance(asker.get("/api/nothing").json()["error"], str)
    assert asker.get(CHAT).status_code == 405 and asker.get(CHAT).headers["allow"] == "POST"


def test_keys_in_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\nfirst\n\n  second  \n")
    file.chmod(0o600)
    assert keys_of_file(file) == ["first", "second"]
    file.chmod(0o640)
    with pytest.raises(RequestError, match="others can read this file of keys; chmod 600"):
        keys_of_file(file)
    file.chmod(0o600)
    file.write_text("# none\n")
    with pytest.raises(RequestError, match="has no API key"):
        keys_of_file(file)


@pytest.mark.parametrize("key", ["", " a", "a\n", "é", "a" * 513])
def test_keys_that_cannot_be_sent(key):
    with pytest.raises(RequestError, match="api_key must be"):
        checked_keys([key])

"""Hostile URLs in a world where every address answers: none that is forbidden may be reached, whatever it is called.

The world (`world.py`) needs Linux namespaces, which most machines give to everyone; without them these rows are left
out, and `test_urls.py` has some of them without the proof that nothing was reached.
"""

import shutil
import subprocess
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.bad_input.world import GOOD, PAGES, SILENT, World

PARAM = "messages[0].content[0].image_url.url"
MOST_BYTES = 400 * 1024 * 1024
"""Of the gateway's memory at its peak; 120 MB of it are its code."""


def _has_namespaces() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run(["unshare", "-Urnm", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _has_namespaces(), reason="needs Linux namespaces (unshare -Urnm) and iproute2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


V4 = {
    "loopback": "127.0.0.1",
    "loopback's end": "127.255.255.255",
    "another loopback": "127.7.7.7",
    "this network": "0.0.0.0",
    "this network's end": "0.255.255.255",
    "ten": "10.0.0.1",
    "ten's end": "10.255.255.255",
    "172.16": "172.16.0.1",
    "172.31": "172.31.255.254",
    "192.168": "192.168.178.1",
    "carrier": "100.64.0.1",
    "carrier's end": "100.127.255.254",
    "link-local": "169.254.0.1",
    "metadata of AWS, GCP, Azure": "169.254.169.254",
    "metadata of ECS": "169.254.170.2",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Oracle": "192.0.0.192",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "benchmarks": "198.18.0.1",
    "6to4 relays": "192.88.99.1",
    "the host at Azure": "168.63.129.16",
    "multicast": "224.0.0.251",
    "multicast's end": "239.255.255.250",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
}
SPELLED = {
    "decimal": "2130706433",
    "decimal with a dot": "2130706433.",
    "hexadecimal": "0x7f000001",
    "hexadecimal in capitals": "0X7F000001",
    "octal": "017700000001",
    "hexadecimal parts": "0x7f.0x0.0x0.0x1",
    "octal parts": "0177.0.0.01",
    "mixed parts": "0x7f.0.0.01",
    "two parts": "127.1",
    "three parts": "127.0.1",
    "one part": "0",
    "leading zeros": "127.000.000.001",
    "decimal metadata": "2852039166",
    "hexadecimal metadata": "0xa9fea9fe",
    "octal metadata": "0251.0376.0251.0376",
    "an overflow": "4294967297",
    "256 overflows": "383.0.0.1",
    "a dot at the end": "127.0.0.1.",
    "full-width digits": "\uff11\uff12\uff17.0.0.1",
    "circled digits": "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "superscript digits": "\u00b9\u00b2\u2077.0.0.1",
    "Arabic digits": "\u0661\u0662\u0667.0.0.1",
    "an ideographic dot": "127\u30020\u30020\u30021",
    "a half-width dot": "127\uff610\uff610\uff611",
    "localhost": "localhost",
    "localhost in capitals": "LOCALHOST",
    "localhost with a dot": "localhost.",
    "localhost in circles": "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "a soft hyphen": "local\u00adhost",
    "a zero-width space": "local\u200bhost",
    "a name in our hosts file": "intranet",
    "percent-encoded": "%6c%6f%63%61%6c%68%6f%73%74",
    "a percent-encoded address": "127%2e0%2e0%2e1",
}
V6 = {
    "loopback": "::1",
    "loopback at length": "0:0:0:0:0:0:0:1",
    "unspecified": "::",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped in hexadecimal": "::ffff:7f00:1",
    "mapped at length": "0:0:0:0:0:ffff:7f00:0001",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped private": "::ffff:10.0.0.1",
    "compatible": "::127.0.0.1",
    "translated": "::ffff:0:127.0.0.1",
    "NAT64": "64:ff9b::127.0.0.1",
    "NAT64 metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::10.0.0.1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 private": "2002:a00:1::",
    "Teredo": "2001:0:7f00:1::",
    "ORCHID": "2001:10::1",
    "documentation": "2001:db8::1",
    "discard": "100::1",
    "link-local": "fe80::1",
    "a zone": "fe80::1%25lo",
    "unique local": "fd00::1",
    "metadata of AWS": "fd00:ec2::254",
    "site-local": "fec0::1",
    "multicast": "ff02::1",
    "SRv6": "5f00::1",
}
NAMES = [
    "loopback.example", "loopback-high.example", "any.example", "private10.example", "private172.example",
    "private192.example", "carrier.example", "metadata.example", "metadata6.example", "benchmark.example",
    "documentation.example", "reserved.example", "loopback6.example", "any6.example", "mapped.example",
    "compatible.example", "nat64.example", "6to4.example", "teredo.example", "local6.example", "unique6.example",
    "site6.example", "mixed.example", "mixed-last.example", "mixed6.example", "rebind-back.example",
    "b\u00fccher.example",
]  # fmt: skip
SCHEMES = [
    "file:///etc/passwd", "file://localhost/etc/passwd", "ftp://10.0.0.1/a", "sftp://10.0.0.1/a", "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1:11211/stat", "ldap://10.0.0.1/", "tftp://10.0.0.1/a", "smb://10.0.0.1/share", "ws://127.0.0.1/",
    "jar:http://127.0.0.1!/a", "netdoc:///etc/passwd", "php://filter/resource=/etc/passwd", "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/x", "view-source:http://127.0.0.1/", "about:blank", "javascript:fetch(1)",
]  # fmt: skip
ODD = {
    "a user": f"http://user@{GOOD}/good.png",
    "a password": f"http://user:secret@{GOOD}/good.png",
    "two empty users": f"http://@127.0.0.1@{GOOD}/good.png",
    "a host as a user": f"http://{GOOD}@127.0.0.1/",
    "a host as a user and a port": f"http://{GOOD}:80@127.0.0.1/",
    "two at signs": f"http://a@{GOOD}@127.0.0.1/",
    "an encoded at sign": f"http://{GOOD}%40127.0.0.1/",
    "a backslash": f"http://{GOOD}\\@127.0.0.1/",
    "a backslash before the host": f"http:\\\\127.0.0.1\\{GOOD}/",
    "a hash before the at sign": f"http://127.0.0.1#@{GOOD}/",
    "a question mark before the at sign": f"http://127.0.0.1?@{GOOD}/",
    "a semicolon": f"http://127.0.0.1;{GOOD}/",
    "a tab in the host": "http://127.0.0.1\t/",
    "a newline in the host": f"http://127.0.0.1\n{GOOD}/",
    "a header in the host": f"http://{GOOD}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nx:",
    "a null in the host": "http://127.0.0.1\x00.good.example/",
    "an encoded null": "http://127.0.0.1%00.good.example/",
    "an encoded newline": "http://127.0.0.1%0d%0a/",
    "three slashes": "http:///127.0.0.1/",
    "no slashes": "http:127.0.0.1/",
    "one slash": "http:/127.0.0.1/",
    "no host": "http://",
    "only a port": "http://:80/",
    "brackets around nothing": "http://[]/",
    "brackets around a name": "http://[localhost]/",
    "brackets around IPv4": "http://[127.0.0.1]/",
    "half a bracket": "http://[::1/",
    "a bracket too many": "http://[::1]]/",
    "port 22": f"http://{GOOD}:22/",
    "port 25": f"http://{GOOD}:25/",
    "port 6379": f"http://{GOOD}:6379/",
    "port 9200": f"http://{GOOD}:9200/",
    "port 0": f"http://{GOOD}:0/",
    "a port beyond": f"http://{GOOD}:65616/",
    "a negative port": f"http://{GOOD}:-80/",
    "a port in words": f"http://{GOOD}:http/",
    "a port in full-width digits": f"http://{GOOD}:\uff18\uff10/",
    "a port in octal": f"http://{GOOD}:0026/",
    "HTTP on the port of HTTPS": f"http://{GOOD}:443/",
}
TARGETS = {
    "loopback": "http://127.0.0.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/iam/",
    "IPv6": "http://[::1]/",
    "mapped IPv6": "http://[::ffff:7f00:1]/",
    "decimal": "http://2130706433/",
    "a private name": "http://private10.example/",
    "a mixed name": "http://mixed.example/",
    "no scheme": "//10.0.0.1/",
    "a backslash": "\\\\10.0.0.1\\a",
    "a file": "file:///etc/passwd",
    "FTP": "ftp://10.0.0.1/",
    "data": "data:image/png;base64,iVBORw0KGgo=",
    "a user": f"http://user@{GOOD}/good.png",
    "Redis": f"http://{GOOD}:6379/",
    "the gateway itself": "http://127.0.0.1:8000/metrics",
    "TLS within": "https://10.0.0.1/",
    "nothing": "",
    "itself": f"http://{GOOD}/to?url=",
}
PAGE_CODES = {"/good.png": None, "/says-a-terabyte": "image_too_large", "/body-never-ends": "image_too_large",
              "/chunks-never-end": "image_too_large", "/html": "image_unsupported", "/script": "image_unsupported",
              "/refresh": "image_unsupported", "/nothing": "image_unreadable",
    "/says-too-little": "image_unreadable",}  # fmt: skip
FORBIDDEN = {"url_forbidden", "invalid_value"}
BY_NAME = {"url_forbidden", "invalid_value", "url_unreachable", "image_unreadable"}
"""For what some programs take for an address and others for a name that there is not, or for no URL at all."""


def rows() -> Iterator[tuple[str, str, set[str | None]]]:
    """(what it is, the URL, the codes that may answer it)."""
    yield from ((f"IPv4 {name}", f"http://{host}/", FORBIDDEN) for name, host in V4.items())
    yield from ((f"IPv4 over TLS {name}", f"https://{host}/", FORBIDDEN) for name, host in list(V4.items())[:6])
    yield from ((f"spelled in {name}", f"http://{host}/", BY_NAME) for name, host in SPELLED.items())
    yield from ((f"IPv6 {name}", f"http://[{host}]/", FORBIDDEN) for name, host in V6.items())
    yield from ((f"name {name}", f"http://{name}/", FORBIDDEN) for name in NAMES)
    yield from ((f"scheme {url}", url, FORBIDDEN) for url in SCHEMES)
    yield from ((f"odd: {name}", url, BY_NAME) for name, url in ODD.items())
    for status in (301, 302, 303, 307, 308):
        targets = TARGETS if status == 302 else {"loopback": TARGETS["loopback"]}
        for name, target in targets.items():
            url = f"http://{GOOD}/to?status={status}&url={quote(target, safe='')}"
            yield f"{status} to {name}", url, BY_NAME
    for page in PAGES:
        yield f"page {page}", f"http://good.example{page}", {PAGE_CODES.get(page, "url_unreachable")}


ROWS = list(rows())


def test_there_are_more_than_a_hundred_and_twenty() -> None:
    assert len({url for _, url, _ in ROWS}) >= 120


@pytest.mark.parametrize(("url", "codes"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_hostile_url_reaches_nothing_and_gets_its_error(world: World, url: str, codes: set[str | None]) -> None:
    seen = world.ask(url)
    answer = seen["answers"][0]
    assert seen["reached"] == []
    assert answer["code"] in codes, answer
    assert answer["status"] == (200 if answer["code"] is None else 413 if "too_large" in answer["code"] else 400)
    assert answer["param"] == (None if answer["code"] is None else PARAM)
    assert "secret" not in str(answer)
    assert seen["alive"]
    assert seen["peak_bytes"] < MOST_BYTES


# -- names that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rebind.example", "rebind-metadata.example"])
def test_a_name_that_changes_its_address_is_asked_once_and_that_answer_is_used(world: World, name: str) -> None:
    seen = world.ask(f"http://{name}/good.png")
    assert seen["answers"][0]["status"] == 200
    assert (seen["names"], seen["pages"], seen["reached"]) == ([name], ["/good.png"], [])


def test_a_redirect_to_the_same_name_is_checked_anew_when_its_address_has_changed(world: World) -> None:
    target = quote("http://rebind.example/good.png", safe="")
    seen = world.ask(f"http://rebind.example/to?url={target}")
    assert seen["answers"][0]["code"] == "url_forbidden"
    assert (seen["names"], seen["reached"]) == (["rebind.example", "rebind.example"], [])


def test_a_hundred_rebinding_lookups_at_once_reach_nothing(world: World) -> None:
    seen = world.ask(*["http://rebind.example/good.png", "http://rebind-back.example/good.png"] * 50)
    assert {answer["code"] for answer in seen["answers"]} <= {None, "url_forbidden"}
    assert seen["reached"] == []


@pytest.mark.parametrize("url", [f"http://{GOOD}/good.png", "http://good.example/good.png", "http://two-good.example/good.png",
                                 "http://[2606:2800:220:1::1]/good.png", "http://good6.example/good.png"])  # fmt: skip
def test_what_is_public_is_fetched(world: World, url: str) -> None:
    assert world.ask(url)["answers"][0]["status"] == 200


def test_names_that_are_never_answered_do_not_keep_the_others_waiting(world: World) -> None:
    seen = world.ask(*(f"http://n{number}.{SILENT}/" for number in range(16)), "http://good.example/good.png")
    *silent, good = seen["answers"]
    assert {answer["code"] for answer in silent} == {"url_unreachable"}
    assert good["status"] == 200, good


def test_nothing_is_left_open_by_all_of_them(world: World) -> None:
    before = world.ask("http://good.example/good.png")["files"]
    world.ask(*(f"http://good.example{page}" for page in PAGES))
    assert world.ask("http://good.example/good.png")["files"] <= before + 4

"""Types of the values in gateway.yaml, for pydantic: durations, sizes, hosts, addresses.

Each error has two sentences: what is wrong, and the fix. It never quotes the value, because a value in the wrong place
may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from gateway.text import SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMUM_WORKERS: Final = 64

_BYTES: Final = {"B": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
UNIX: Final = "unix://"
GATEWAY_ID: Final = re.compile("[A-Za-z0-9_-]{1,64}")
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")


def wrong(message: str, fix: str) -> PydanticCustomError:
    """The error of a value: what is wrong, and the fix."""
    return PydanticCustomError("gateway", "{message}", {"message": message, "fix": fix})


def parse_duration(value: object) -> float:
    """Read a duration: `5s`, `250ms`, `1h`, `2d`, or a plain number of seconds; raises ValueError."""
    refusal = wrong("Expected a duration.", "Write a number with a unit, such as 250ms, 5s, 10m, 1h or 2d.")
    return _quantity(value, {"": 1.0, **SECONDS}, refusal)


def parse_size(value: object) -> int:
    """Read a size, a whole number of bytes above 0: `32MiB`, `2GB`, or a plain number; raises ValueError."""
    refusal = wrong("Expected a size.", "Write a number with a unit, such as 512KiB, 32MiB or 2GiB.")
    size = _quantity(value, {"": 1, **_BYTES}, refusal)
    if not size.is_integer() or not 0 < size < 2**63:
        raise refusal
    return int(size)


SMALLEST_SIZE: Final = 256 * 2**10  # some hundred readings
LONGEST_AFTER_SECONDS: Final = 3_600.0
LONGEST_WAIT_SECONDS: Final = 86_400.0


def _check_size(size: int) -> int:
    if size < SMALLEST_SIZE:
        raise wrong(
            "This is too small to be useful.", "Write a number with a unit, such as 32MiB, and at least 256KiB."
        )
    return size


def _check_after(seconds: float) -> float:
    if seconds > LONGEST_AFTER_SECONDS:
        raise wrong(
            "Readings would wait in memory only for more than an hour.",
            "Write a number with a unit, such as 5s, and at most 1h.",
        )
    return seconds


def _check_wait(seconds: float) -> float:
    if seconds > LONGEST_WAIT_SECONDS:
        raise wrong(
            "Readings would wait for the time for more than a day.",
            "Write a number with a unit, such as 2m, and at most 1d; 0 for no wait.",
        )
    return seconds


def _quantity(value: object, units: Mapping[str, float], refusal: PydanticCustomError) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refusal
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise refusal
    factors = {unit.lower(): factor for unit, factor in units.items()}
    if match[2].lower() not in factors:
        raise refusal
    return round(float(match[1]) * factors[match[2].lower()], 9)


def split_hosts(text: str) -> list[tuple[str, int | None]]:
    """Split `a.example:9092,[::1]:9092` into names (without brackets) and ports; raises ValueError.

    `unix:///run/mosquitto.sock`, for a broker, gives the path of the socket.
    """
    if re.fullmatch(f"{UNIX}/[!-~]+", text):
        return [(text.removeprefix(UNIX), None)]
    hosts: list[tuple[str, int | None]] = []
    for part in text.split(","):
        match = _HOST.fullmatch(part.strip())
        if match is None or (match[3] and int(match[3]) > 65_535):
            raise wrong(
                "Expected a host: name:port, or several separated by commas.",
                "Remove scheme, user and path; the contract defines the protocol.",
            )
        hosts.append((match[1] or match[2], int(match[3]) if match[3] else None))
    return hosts


def is_local(host: str) -> bool:
    """Whether a host (without port and brackets) is this machine or on its private network. No name is resolved."""
    if host.startswith("/"):  # a Unix socket
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.lower().removesuffix(".")
        has_local_domain = name.endswith((".localhost", ".local", ".lan", ".home.arpa", ".internal", ".svc"))
        # A single label is a name of the local network; `2130706433` and `0x7f000001` are other forms of addresses.
        return has_local_domain or re.fullmatch("[a-z][a-z0-9_-]*", name) is not None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or any(address in network for network in _PRIVATE)


# RFC 1918, RFC 3927, RFC 4193, RFC 4291; Python's `is_private` contains more, depending on its version.
_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
_PRIVATE: Final = tuple(map(ipaddress.ip_network, _NETWORKS))


def _check_hosts(text: str) -> str:
    if any(port == 0 for _, port in split_hosts(text)):
        raise wrong("0 is not a port.", "Remove it, or write a port from 1 to 65535.")
    return text


def _check_listen(value: object) -> object:
    if value is None or value == "off":
        return None
    fix = "Write 127.0.0.1:9464, or off."
    if not isinstance(value, str):
        raise wrong("Expected an address.", fix)
    [(_, port), *more] = split_hosts(value)
    if more or port is None:
        raise wrong("Expected one address with a port.", fix)
    return value


def _check_url(text: str) -> str:
    try:
        url = urlsplit(text)
        is_good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_good = False
    if not is_good or url.query or url.fragment or any(map(str.isspace, text)):
        raise wrong("Expected an http or https URL.", "Write it in the form https://registry.example:8081.")
    if "@" in url.netloc:
        raise wrong("The URL contains a user or password.", "Use username and password_file.")
    return text


def _check_qos(value: object) -> object:
    if value is not None and (isinstance(value, bool) or value not in (0, 1, 2)):  # a list is not hashable
        raise wrong("Expected a QoS.", "Write 0, 1 or 2.")
    return value


def _within(low: float, high: float, message: str, fix: str) -> AfterValidator:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise wrong(message, fix)
        return value

    return AfterValidator(check)


def _matching(pattern: str | re.Pattern[str], message: str, fix: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise wrong(message, fix)
        return text

    return AfterValidator(check)


def _check_property(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise wrong("A producer property is text, a number, true or false.", "Write one of these.")
    return value


def _check_extensions(extensions: dict[str, str]) -> dict[str, str]:
    if not all(re.fullmatch("[A-Za-z]+", name) and re.fullmatch("[!-+.-~-]+", extensions[name]) for name in extensions):
        raise wrong("A SASL extension is a name of letters, and text without spaces and commas.", "Correct it.")
    return extensions


def _check_alpn(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch("[!-~]{1,255}", name) for name in names):
        raise wrong("A name of ALPN has 1 to 255 characters of ASCII, and no space.", "Write it as in [mqtt].")
    return names


def check_path(text: str) -> str:
    """Check the path of a WebSocket; raises ValueError."""
    if not re.fullmatch("/[!$-~]*", text):  # no fragment
        raise wrong("Expected the path of a WebSocket.", "Write it in the form /mqtt.")
    return text


_NOT_OF_HANDSHAKE: Final = r"(?is)(?!(host|connection|upgrade|content-length|transfer-encoding|sec-websocket-.*)\Z).*"


_NO_HEADER: Final = ("This is no name of a header.", "Correct it, or remove it.")
_OWN_HEADER: Final = ("The gateway sets this header, which makes the WebSocket.", "Remove it.")


def _check_header(text: str) -> str:
    if not text.isprintable():
        raise wrong("A header has one line of text.", "Remove line breaks and control characters.")
    return text


def _check_file(text: str) -> str:
    if not text or "\0" in text:
        raise wrong("Expected a file name.", "Write the path of the file.")
    return text


def _empty_section(value: object) -> object:
    return {} if value is None else value  # `spool:` whose lines are all commented out


def _split_names(value: object) -> object:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(one, str) and one.strip() for one in names):
        raise wrong("Expected a list of names.", "Write it as in [broker, kafka].")
    return tuple(one.strip() for one in names)


Section = BeforeValidator(_empty_section)
Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
After = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_check_after)]
Wait = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_check_wait)]
# A topic level of MQTT, and an id of Home Assistant.
_LEVEL = _matching(
    GATEWAY_ID, "Expected a level of an MQTT topic.", "Write 1 to 64 of: A-Z, a-z, 0-9, dash, underscore."
)
GatewayId = Annotated[str, _LEVEL]
_EVERY = ("A status is published every second to every hour.", "Write 1s to 1h; the default is 30s.")
Every = Annotated[float, BeforeValidator(parse_duration), _within(1, LONGEST_AFTER_SECONDS, *_EVERY)]
_SHA256 = ("Expected a SHA-256.", "Write the 64 hexadecimal digits that `sha256sum FILE` prints.")
Sha256 = Annotated[str, _matching("[0-9A-Fa-f]{64}", *_SHA256)]
Size = Annotated[int, BeforeValidator(parse_size), AfterValidator(_check_size)]
Hosts = Annotated[str, AfterValidator(_check_hosts)]
FileName = Annotated[str, AfterValidator(_check_file)]
Extensions = Annotated[dict[str, str], BeforeValidator(_empty_section), AfterValidator(_check_extensions)]
Alpn = Annotated[tuple[str, ...], BeforeValidator(_split_names), AfterValidator(_check_alpn)]
WebSocketPath = Annotated[str, AfterValidator(check_path)]
_HeaderName = Annotated[
    str, _matching(_NOT_OF_HANDSHAKE, *_OWN_HEADER), _matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", *_NO_HEADER)
]
Headers = Annotated[dict[_HeaderName, Annotated[str, AfterValidator(_check_header)]], BeforeValidator(_empty_section)]
HeaderFiles = Annotated[dict[_HeaderName, FileName], BeforeValidator(_empty_section)]
Property = Annotated[Any, BeforeValidator(_check_property)]
Listen = Annotated[str | None, BeforeValidator(_check_listen)]
Url = Annotated[str, AfterValidator(_check_url)]
_REGION = ("Expected a region of AWS.", "Write its name, such as eu-central-1.")
AwsRegion = Annotated[str, _matching("[a-z]+(-[a-z0-9]+)+", *_REGION)]
Qos = Annotated[int | None, BeforeValidator(_check_qos)]
_WORKERS = (f"The number of workers is from 1 to {MAXIMUM_WORKERS}.", "Remove it to use 1.")
WorkerCount = Annotated[int, _within(1, MAXIMUM_WORKERS, *_WORKERS)]
_SHARE = ("Expected the name of a shared subscription.", "Write 1 to 64 of: A-Z, a-z, 0-9, dot, dash, underscore.")
ShareName = Annotated[str, _matching("[A-Za-z0-9._-]{1,64}", *_SHARE)]  # MQTT 5.0 section 4.8.2 forbids / + #
_RECEIVE = ("The Receive Maximum of MQTT is a number from 1 to 65535.", "Remove it to use the default.")
ReceiveMaximum = Annotated[int, _within(1, 65_535, *_RECEIVE)]  # MQTT 5.0 section 3.1.2.11.3

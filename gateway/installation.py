"""Everything that one gateway.yaml leads to: settings, contract, state folder, and how to reach every peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from gateway import contract as contracts
from gateway.core.filters import plan
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.errors import ConfigurationError, GatewayError
from gateway.kafka.msk import MskTokens
from gateway.mqtt.websocket import Upgrade
from gateway.registry.api import Endpoint, TokenEndpoint
from gateway.registry.lock_file import LOCK_FILE
from gateway.registry.registry import SchemaRegistry
from gateway.settings.consistency import check_consistency
from gateway.settings.pem import TlsFiles, trusting
from gateway.settings.secret import UnfitFileError, read_secret
from gateway.settings.settings import TlsSettings, load
from gateway.settings.tls import tls_context
from gateway.settings.values import split_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from gateway.core.model import Contract, KafkaServer, MqttServer, Stream
    from gateway.mqtt.broker import Broker
    from gateway.settings.settings import KafkaOAuthSettings, OAuthSettings, ServerSettings, Settings


class Installation(NamedTuple):
    """The settings of a gateway.yaml, and the contract that it names; ConfigurationError when a secret is unusable."""

    settings: Settings
    contract: Contract

    @property
    def delivers_once(self) -> bool:
        """True with `delivery: exactly_once`."""
        return self.settings.delivery == "exactly_once"

    @property
    def spool_path(self) -> Path:
        """The spool's file; its folder has all state."""
        return self.settings.resolve(self.settings.spool.path)

    @property
    def payload_limit(self) -> int:
        """How many bytes of payload a record may hold."""
        from gateway.kafka.sink import DEFAULTS, RECORD_OVERHEAD  # noqa: PLC0415 - it loads librdkafka, for few commands

        return int((DEFAULTS | self.kafka(producing=True))["message.max.bytes"]) - RECORD_OVERHEAD

    def kafka(self, *, producing: bool) -> dict[str, Any]:
        """Make the librdkafka properties of a producer or a consumer."""
        server = self.settings.server(self.contract.kafka.name)
        given = server if producing else server.model_copy(update={"producer": {}})
        return connection_properties(self.contract.kafka, given, self.settings)

    def registry(self) -> SchemaRegistry:
        """Make the client for schema ids: the lock file beside the spool, then the registry."""
        return registry_of(self.contract, self.settings)


def open_installation(config: Path, environ: Mapping[str, str]) -> Installation:
    """Load gateway.yaml, with overrides from the environment, and its contract."""
    settings = load(config, environ)
    return installation_of(settings, contract_of(settings))


def installation_of(settings: Settings, contract: Contract) -> Installation:
    """Put settings and a contract together; ConfigurationError when they do not fit each other."""
    if errors := [finding for finding in check_consistency(settings, contract) if finding.severity == "error"]:
        raise ConfigurationError(errors)
    return Installation(settings, contract)


def contract_of(settings: Settings) -> Contract:
    """Load the part of the contract that the settings choose."""
    return contracts.load(settings.contract_path(), settings.choice)


def subscriptions(contract: Contract, is_enabled: Callable[[str], bool], server: str) -> dict[str, list[Stream]]:
    """Find the filters that all workers together subscribe to on a server, each with the streams that it is for."""
    served = [one for one in contract.streams.values() if server in one.servers and is_enabled(one.name)]
    planned = plan(one.address.filter for one in served)
    return {each: [one for one in served if one.address.filter in covered] for each, covered in planned.items()}


def transactional_id(contract: Contract) -> str:
    """Make the transactional id of `delivery: exactly_once` from the client ids of all brokers."""
    return ",".join(sorted({each.client_id for each in contract.mqtt_servers.values()}))


def topics_at(contract: Contract, settings: Settings, servers: Collection[str]) -> Callable[[bytes], str]:
    """Make the function that finds the stream of a topic on some servers; one that is switched off is UNMAPPED."""
    off = {name for name in contract.streams if not settings.is_enabled(name)}
    addresses = [(UNMAPPED if name in off else name, address) for name, address in contract.addresses(servers)]
    filters = [each for server in servers for each in subscriptions(contract, settings.is_enabled, server)]
    return topic_index(addresses, filters)


def registry_of(contract: Contract, settings: Settings, *, may_register: bool = True) -> SchemaRegistry:
    """Make the registry client of an installation; without `may_register` it only looks up."""
    given = settings.server(contract.kafka.name).registry
    endpoint = Endpoint(
        url=given.url or contract.kafka.registry_url or "",
        username=given.username or "",
        password=_secret(given.password_file, settings),
        token=_secret(given.token_file, settings),
        oauth=_token_endpoint(given.oauth, settings) if given.oauth else None,
        tls=settings.tls_files(given.tls),
    )
    return SchemaRegistry(endpoint, lock_path_of(settings), register=given.register and may_register)


def _token_endpoint(given: OAuthSettings, settings: Settings) -> TokenEndpoint:
    assert given.token_url, "it is checked when gateway.yaml is loaded"
    secret, files = _secret(given.client_secret_file, settings), settings.tls_files(given)
    return TokenEndpoint(given.token_url, given.client_id or "", secret, given.scope or "", files, given.extensions)


def lock_path_of(settings: Settings) -> Path:
    """Give the path of the lock file: beside the spool, because that folder is writable."""
    return settings.resolve(settings.spool.path).parent / LOCK_FILE


def connection_properties(server: KafkaServer, given: ServerSettings, settings: Settings) -> dict[str, Any]:
    """Make the librdkafka properties for the cluster; TLS always verifies the broker's certificate and name."""
    encrypted = server.tls or given.tls is not None
    properties = {
        "bootstrap.servers": given.host or server.host,
        "security.protocol": ("SASL_" if given.sasl else "") + ("SSL" if encrypted else "PLAINTEXT"),
    }
    return properties | kafka_credentials(given, settings) | given.producer


def kafka_credentials(given: ServerSettings, settings: Settings) -> dict[str, Any]:
    """Make those librdkafka properties that may be renewed, with the contents of all files as they are now."""
    tls, sasl = given.tls, given.sasl
    files = settings.tls_files(tls) if tls else TlsFiles()
    properties = {
        "ssl.ca.pem": files.ca and files.ca.text,
        "ssl.certificate.pem": files.cert and files.cert.text,
        "ssl.key.pem": files.key and files.key.text,
        "ssl.key.password": files.pass_phrase,
        "sasl.mechanism": sasl and sasl.mechanism,
        "sasl.username": sasl and sasl.username,
        "sasl.password": sasl and _secret(sasl.password_file, settings),
        **(_oauth(sasl.oauth, settings) if sasl and sasl.oauth else {}),
    }
    return {name: value for name, value in properties.items() if value}


def _oauth(given: KafkaOAuthSettings, settings: Settings) -> dict[str, Any]:
    """Make the properties with which librdkafka gets its tokens, and renews them: itself, but for AWS."""
    if given.aws_region:
        return {"oauth_cb": MskTokens(given.aws_region, given.aws_profile)}
    files = settings.tls_files(given)
    properties: dict[str, str | None] = {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": given.token_url,
        "sasl.oauthbearer.client.id": given.client_id,
        "sasl.oauthbearer.client.secret": _secret(given.client_secret_file, settings),
        "sasl.oauthbearer.scope": given.scope,
        "sasl.oauthbearer.extensions": ",".join(f"{name}={value}" for name, value in given.extensions.items()),
        # librdkafka itself looks for the system's CAs only where Red Hat has them.
        **({"https.ca.pem": files.ca.text} if files.ca else {"https.ca.location": "probe"}),
    }
    if files.key:
        return properties | _assertion(given, settings, files)
    if given.azure_resource:
        query = {"api-version": "2018-02-01", "resource": given.azure_resource}
        query |= {"client_id": given.client_id} if given.client_id else {}
        properties["sasl.oauthbearer.metadata.authentication.type"] = "azure_imds"
        properties["sasl.oauthbearer.config"] = f"query={urlencode(query)}"
    return properties


def _assertion(given: KafkaOAuthSettings, settings: Settings, files: TlsFiles) -> dict[str, str | None]:
    """Make the properties of a JWT that is signed here, instead of a secret."""
    assert files.key, "the caller has checked"
    try:
        algorithm = files.signing_algorithm()
    except UnfitFileError as error:
        raise settings.unfit(getattr(given, error.setting), error) from None
    prefix = "sasl.oauthbearer.assertion"
    return {
        "sasl.oauthbearer.grant.type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        f"{prefix}.algorithm": algorithm,
        f"{prefix}.private.key.pem": files.key.text,
        f"{prefix}.private.key.passphrase": files.pass_phrase,
        f"{prefix}.claim.iss": given.client_id,
        f"{prefix}.claim.sub": given.subject or given.client_id,
        f"{prefix}.claim.aud": given.audience,
        f"{prefix}.claim.jti.include": "true",
    }


def _secret(file: str | None, settings: Settings) -> str:
    return settings.secret(file).get_secret_value() if file else ""


PORT, TLS_PORT = 1883, 8883
WEB_PORT, WEB_TLS_PORT = 80, 443
WEBSOCKET_PATH = "/mqtt"


class Login(NamedTuple):
    """A user name and password; both empty for none."""

    username: str
    password: str


NO_LOGIN = Login("", "")


def login(username: str, password_file: Path | None) -> Login:
    """Make a login, with the password from a file."""
    try:
        return Login(username, read_secret(password_file, None).get_secret_value() if password_file else "")
    except UnfitFileError as error:
        raise GatewayError(error.message, error.hint) from None


def broker_of(
    server: MqttServer, settings: Settings | None, elsewhere: tuple[str, int] | None = None, login: Login = NO_LOGIN
) -> Broker:
    """Find out how to reach a broker of the contract.

    `elsewhere` is a host and port without TLS and WebSocket; it and `login` are used instead of gateway.yaml's.
    """
    from gateway.mqtt.broker import Broker  # noqa: PLC0415 - paho, which commands without a broker do not need

    given = settings.server(server.name) if settings else None
    ((host, port),) = split_hosts((given and given.host) or server.host) if not elsewhere else (elsewhere,)
    is_plain = bool(elsewhere) or host.startswith("/")
    encrypted = not is_plain and (server.tls or bool(given and given.tls))
    upgrade = None if is_plain else _upgrade(server, settings)
    if not login.username and settings and given and given.username:
        login = Login(given.username, _secret(given.password_file, settings))
    tls = None
    if encrypted:
        tls = tls_context(settings.server(server.name).tls, settings) if settings else trusting()
    files = settings.tls_files(given.tls or TlsSettings()) if encrypted and settings and given else None
    return Broker(
        server.name,
        host,
        port or usual_port(is_web=upgrade is not None, is_tls=encrypted),
        server.version == "5.0",
        *login,
        tls=tls,
        alpn=given.tls.alpn if given and given.tls else (),
        websocket=upgrade,
        certificates=files,
    )


def usual_port(*, is_web: bool, is_tls: bool) -> int:
    """Give the port of a broker whose address has none."""
    plain, encrypted = (WEB_PORT, WEB_TLS_PORT) if is_web else (PORT, TLS_PORT)
    return encrypted if is_tls else plain


def _upgrade(server: MqttServer, settings: Settings | None) -> Upgrade | None:
    given = settings.server(server.name).websocket if settings else None
    if given is None or settings is None:
        return None if server.websocket_path is None else Upgrade(server.websocket_path)
    secrets = {name: _secret(file, settings) for name, file in given.header_files.items()}
    return Upgrade(given.path or server.websocket_path or WEBSOCKET_PATH, given.headers | secrets)

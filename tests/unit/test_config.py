"""A setting is read from its variable, and an invalid one is refused with what to change."""

import pytest

from emostream import config
from emostream.errors import ConfigurationError


def test_each_setting_has_a_default_and_a_description() -> None:
    for section in config.SECTIONS:
        for name, field in section.model_fields.items():
            assert not field.is_required(), f"{section.variable(name)} has no default"
            assert field.description, f"{section.variable(name)} has no description"


def test_no_two_settings_share_a_variable() -> None:
    names = [section.variable(field) for section in config.SECTIONS for field in section.model_fields]
    assert len(names) == len(set(names))


def test_a_variable_sets_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_INGEST_LINGER_MS", "7.5")
    assert config.load(config.IngestSettings).linger_ms == 7.5


def test_a_list_is_comma_separated_and_blanks_around_its_parts_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS", "kafka1:9092, kafka2:9092,")
    assert config.load(config.KafkaSettings).bootstrap_servers == ("kafka1:9092", "kafka2:9092")


def test_a_flag_wins_over_the_variable_and_an_absent_flag_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_SUBSCRIBER_PORT", "9007")
    assert config.load(config.SubscriberSettings, port=9009).port == 9009
    assert config.load(config.SubscriberSettings, port=None).port == 9007


@pytest.mark.parametrize(
    ("variable", "value", "part_of_the_message"),
    [
        ("EMOSTREAM_INGEST_PORT", "http", "valid integer"),
        ("EMOSTREAM_INGEST_PORT", "70000", "less than or equal to 65535"),
        ("EMOSTREAM_INGEST_MAX_BODY_BYTES", "", "valid integer"),
        ("EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS", "", "at least 1 item"),
        ("EMOSTREAM_KAFKA_BOOTSTRAP_SERVERS", " , ", "at least 1 item"),
    ],
)
def test_a_bad_value_is_refused_with_its_variable_its_value_and_its_meaning(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, part_of_the_message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refusal:
        config.check("ingest")
    assert str(refusal.value).startswith(f"{variable}=")
    assert part_of_the_message in str(refusal.value)


def test_a_misspelt_variable_is_refused_with_the_likely_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_INGEST_LINGR_MS", "5")
    with pytest.raises(ConfigurationError, match="did you mean EMOSTREAM_INGEST_LINGER_MS"):
        config.check("ingest")


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_SUBSCRIBER_CLUSTER", "a b")
    monkeypatch.setenv("EMOSTREAM_SUBSCRIBER_CAPACITY", "0")
    with pytest.raises(ConfigurationError) as refusal:
        config.check("subscriber")
    assert str(refusal.value).count("\n") == 1


def test_another_tiers_setting_and_those_of_the_vagrantfile_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_REGISTRY_PORT", "8001")
    monkeypatch.setenv("EMOSTREAM_INVENTORY", "single")
    monkeypatch.setenv("EMOSTREAM_DEBIAN", "trixie")
    config.check("ingest")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("192.0.2.7", "http://192.0.2.7:8000"),
        ("::1", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("localhost", "http://127.0.0.1:8000"),
    ],
)
def test_a_host_is_an_ip_address_or_a_name_of_one(host: str, url: str) -> None:
    settings = config.load(config.IngestSettings, host=host)
    assert config.url(settings.host, settings.port) == url
    assert f"http://{config.address_of(url)}" == url


@pytest.mark.parametrize("host", ["", "no name", "nowhere.invalid", "http://localhost", "x" * 300, "127.0.0.1:8000"])
@pytest.mark.parametrize(
    ("section", "field"),
    [(section, field) for section in config.SECTIONS for field in section.model_fields if field.endswith("host")],
)
def test_a_host_that_cannot_be_bound_is_refused(section: type[config.Section], field: str, host: str) -> None:
    with pytest.raises(ConfigurationError, match="neither an IP address nor a name that this host resolves"):
        config.load(section, **{field: host})


@pytest.mark.parametrize("every", ["0.0.0.0", "::", "0:0::0"])  # noqa: S104
@pytest.mark.parametrize(
    ("section", "field", "advertised"),
    [
        (section, field, field.replace("host", "advertised_url"))
        for section in config.SECTIONS
        for field in ("host", "admin_host")
        if field in section.model_fields and (section, field) != (config.AggregatorSettings, "host")
    ],
)
def test_every_address_needs_one_that_others_are_told(
    section: type[config.Section], field: str, advertised: str, every: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"set {section.variable(advertised)}"):
        config.load(section, **{field: every})
    config.load(section, **{field: every, advertised: "http://192.0.2.7:1"})


def test_executors_cannot_call_back_at_every_address() -> None:
    with pytest.raises(ConfigurationError, match="set one that they can reach"):
        config.load(config.AggregatorSettings, host="0.0.0.0")  # noqa: S104


def test_a_setting_that_is_gone_is_refused_with_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(config.GONE.values()) <= config.known_variables()
    monkeypatch.setenv("EMOSTREAM_PUBLISHER_PORT", "8101")
    with pytest.raises(ConfigurationError, match="EMOSTREAM_PUBLISHER_ADMIN_PORT instead"):
        config.check("publisher")

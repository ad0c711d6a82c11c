"""The firewall's rules, as the role writes them."""

from typing import Any

from emostream_lab.roles import defaults, rendered

HOSTS = {
    "kafka1": {"emostream_address": "192.0.2.12"},
    "ingest1": {"emostream_address": "192.0.2.15"},
    "edge1": {"emostream_address": "2001:db8::31"},
}


def _rules(**variables: Any) -> list[str]:
    text = rendered("base/templates/firewall.nft.j2", **{**defaults("base"), "hostvars": HOSTS, **variables})
    return [line.strip() for line in text.splitlines()]


def _opened(*rules: dict[str, Any]) -> list[str]:
    """What these rules open, beside what is always open."""
    return [line for line in _rules(base_firewall_rules=rules) if line not in _rules()]


def test_only_the_projects_own_table_is_replaced() -> None:
    rules = _rules()
    assert "flush ruleset" not in rules
    assert [line for line in rules if "table" in line and not line.startswith("#")] == [
        "table inet emostream",
        "delete table inet emostream",
        "table inet emostream {",
    ]
    assert "type filter hook input priority filter; policy drop;" in rules


def test_ssh_is_open_at_each_of_its_ports() -> None:
    assert "tcp dport { 22 } accept" in _rules()
    assert "tcp dport { 22, 2222 } accept" in _rules(base_ssh_ports=[22, 2222])


def test_a_rule_opens_ports_to_hosts_and_networks_of_both_families() -> None:
    rule = {
        "ports": [9092, "7080-7089"],
        "hosts": ["kafka1", "ingest1", "edge1", "kafka1"],
        "networks": ["198.51.100.0/24", "::/0"],
    }
    assert _opened(rule) == [
        "ip saddr { 192.0.2.12, 192.0.2.15, 198.51.100.0/24 } tcp dport { 9092, 7080-7089 } accept",
        "ip6 saddr { 2001:db8::31, ::/0 } tcp dport { 9092, 7080-7089 } accept",
    ]


def test_a_rule_for_a_protocol_has_no_ports() -> None:
    assert _opened({"protocol": 112, "hosts": ["kafka1"]}) == ["ip saddr { 192.0.2.12 } meta l4proto 112 accept"]


def test_a_rule_for_nobody_opens_nothing() -> None:
    assert _opened({"ports": [8089], "networks": []}, {"ports": [5557], "hosts": []}) == []

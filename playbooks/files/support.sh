#!/usr/bin/env bash
# Prints, as root, what a support bundle has of this host: support.sh SINCE UNIT...
# SINCE is journalctl's; each UNIT may be a pattern. It reads no key and no file with a secret.
set -u
since=$1
shift

section() {
    printf '\n== %s\n' "$*"
    "$@" 2>&1 || printf '(status %s)\n' $?
}

# The settings that a unit would start with, by the release on this host.
settings() {
    local file tier program
    for file in /etc/emostream/emostream-*.env; do
        tier=$(basename "$file" .env)
        printf '\n-- %s\n' "$tier"
        tier=${tier#emostream-}
        for program in /opt/emostream/*/current/bin/emostream; do
            if (set -a && . "$file" && "$program" config show "${tier%%@*}" 2>&1 | grep --invert-match '^#'); then
                continue 2
            fi
        done
        cat "$file"
    done
}

section date --utc
section uname --all
section cat /etc/os-release
section uptime
section free --mebi
section df --human-readable --local
section timedatectl --no-pager
section readlink /opt/emostream/base/current /opt/emostream/app/current /opt/emostream/lab/current \
    /opt/emostream/spark/current /opt/emostream/kafka/current /opt/emostream/zookeeper/current /opt/emostream/loadgen/current
section find /opt/emostream -mindepth 2 -maxdepth 2
section dpkg-query --show 'openjdk-*-jre-headless' haproxy keepalived 'prometheus*' python3 systemd
section systemctl --failed --no-pager
section systemctl list-units --all --plain --no-legend --no-pager "$@"
section systemctl status --no-pager --full --lines 0 "$@"
section settings
section journalctl --no-pager --output short-iso-precise --since "$since" "${@/#/--unit=}"

#!/usr/bin/env bash
# Injects a fault on this host, as root, and undoes it. playbooks/chaos.yml runs `begin` as a systemd unit with
# `undo` as its ExecStopPost=, so a fault ends in time even if this script or the control node is killed.
#
#   fault.sh begin kill|stop UNIT SECONDS
#   fault.sh begin inbound|outbound ADDRESS SECONDS     the address of this host
#   fault.sh begin disk MIB SECONDS                     the memory for the small disk
#   fault.sh undo KIND TARGET                           with the same KIND and TARGET; does nothing if the fault is over
#   fault.sh await SECONDS UNIT...                      wait until all are active; prints those that are not
set -euo pipefail

table=emostream_chaos
# Ports of SSH, which a fault leaves open.
ssh_ports=${SSH_PORTS:-22}
disk=/run/emostream-chaos-disk
data=$(readlink --canonicalize-missing /var/lib/kafka/data)
# Free space of the small disk, beyond the data.
room_mib=32
broker_stops_seconds=120
broker_starts_seconds=180

property() {
    systemctl show --property "$2" --value "$1"
}

kill_unit() {
    local unit=$1 pid
    pid=$(property "$unit" MainPID)
    systemctl kill --signal KILL "$unit"
    # The unit stays active until systemd notices the signal.
    while [ "$(property "$unit" MainPID)" = "$pid" ]; do
        sleep 0.1
    done
}

stop_unit() {
    local unit=$1 seconds=$2
    systemctl kill --signal STOP "$unit"
    sleep "$seconds"
}

cut_off() {
    local kind=$1 address=$2 seconds=$3 interface
    if ! read -r _ interface _ < <(ip -oneline -family inet address show to "$address"); then
        echo "no interface of this host has the address $address" >&2
        return 1
    fi
    # SSH stays open, on every interface.
    if [ "$kind" = inbound ]; then
        nft "table inet $table { chain cut {
            type filter hook input priority filter; tcp dport { $ssh_ports } accept; iifname \"$interface\" drop; }; }"
    else
        nft "table inet $table { chain cut {
            type filter hook output priority filter; tcp sport { $ssh_ports } accept; oifname \"$interface\" drop; }; }"
    fi
    sleep "$seconds"
}

# The host's disk may be shared, so the broker gets a small one in memory, and that one is filled.
fill_disk() {
    local limit_mib=$1 seconds=$2 size_mib
    size_mib=$(($(du --summarize --block-size=1M "$data" | cut --fields=1) + room_mib))
    if ((size_mib > limit_mib)); then
        echo "the broker's data and room to fill are $size_mib MiB, and $limit_mib MiB of memory may be taken for them" >&2
        return 1
    fi
    systemctl stop kafka
    mkdir --parents "$disk"
    mount --types tmpfs --options "size=${size_mib}m,mode=0755" emostream-chaos "$disk"
    cp --archive --sparse=always "$data" "$disk/data"
    mount --bind "$disk/data" "$data"
    systemctl start kafka
    cat /dev/zero >"$disk/fill" 2>/dev/null || true
    if ! has_restarted; then
        echo "the broker went on for $broker_stops_seconds s although its disk was full" >&2
        return 1
    fi
    sleep "$seconds"
    rm "$disk/fill"
    await "$broker_starts_seconds" kafka
}

has_restarted() {
    local deadline=$((SECONDS + broker_stops_seconds))
    while (($(property kafka NRestarts) == 0)); do
        ((SECONDS < deadline)) || return 1
        sleep 1
    done
}

# The broker's data are always complete in one place: on the small disk until the bind mount is gone, then on the other.
give_disk_back() {
    if mountpoint --quiet "$data"; then
        systemctl stop kafka
        rm --recursive --force "$data.new" "$data.old"
        cp --archive --sparse=always "$disk/data" "$data.new"
        umount "$data"
        mv "$data" "$data.old"
        mv "$data.new" "$data"
        rm --recursive "$data.old"
    fi
    if mountpoint --quiet "$disk"; then
        umount "$disk"
        rmdir "$disk"
    fi
    systemctl start kafka
}

begin() {
    local kind=$1
    case $kind in
    kill) kill_unit "$2" ;;
    stop) stop_unit "$2" "$3" ;;
    inbound | outbound) cut_off "$kind" "$2" "$3" ;;
    disk) fill_disk "$2" "$3" ;;
    esac
}

undo() {
    local kind=$1
    case $kind in
    stop) systemctl kill --signal CONT "$2" ;;
    inbound | outbound) nft "table inet $table; delete table inet $table" ;;
    disk) give_disk_back ;;
    esac
}

await() {
    local deadline=$((SECONDS + $1)) missing
    shift
    while missing=$(not_active "$@") && [ -n "$missing" ]; do
        if ((SECONDS >= deadline)); then
            echo "$missing"
            return 1
        fi
        sleep 1
    done
}

not_active() {
    local unit
    for unit; do
        systemctl is-active --quiet "$unit" || echo "$unit"
    done
}

"$@"

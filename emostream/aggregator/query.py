"""The SQL that counts a micro-batch in Spark. Reactions never pass through Python.

A record counts as a whole, or is set aside as a whole. Ingest writes the counts of a record's list into a header. Spark
trusts the header and does not parse the list. It parses the list of a record that has no header.

Finding out why a record is bad costs about as much as parsing it, and bad records are rare. So the first query only
counts, and looks for cheap signs of a bad record or header. If there is a sign, a second query parses and judges every
list, whatever its header says, and a third one counts the good records again.

The check of an item is as strict as `from_json` allows. `from_json` accepts a number in place of a string (`"user_id":
5` passes), and anything after the end of the list, as long as the record ends with `]`.
"""

from collections.abc import Collection
from typing import Any

from pyspark.sql import DataFrame

from emostream.model import COUNTS_HEADER, EVENT_COUNTS_HEADER, EVENT_PATTERN, MAIN
from emostream.swarms.log import DeadLetter
from emostream.swarms.rules import Group

# A dead letter keeps this much of a bad record. The whole record stays in `reactions`, at the dead letter's offset.
MAX_DEAD_LETTER_BYTES = 4_096

# Up to this size, one task counts a batch faster than Spark starts many tasks and a shuffle. If one core is too slow
# for the load, the next batch grows past this size, and all cores share it.
SMALL_BATCH_RECORDS = 1_000

_SCHEMA = "array<struct<user_id: string, emoji_type: string, timestamp: bigint, event: string>>"
# A record without a value is treated as an empty one. Both are bad.
_TEXTS = """
    SELECT partition, offset, headers, coalesce(value, X'') AS value, CAST(coalesce(value, X'') AS STRING) AS text
    FROM batch
"""
_READ = f"from_json(text, '{_SCHEMA}', map('allowSingleQuotes', 'false'))"
# Null if the header is missing or malformed.
_COUNTS = f"""
    CASE WHEN get(headers, 0).key = '{COUNTS_HEADER}'
         THEN from_json(CAST(get(headers, 0).value AS STRING), 'map<string, bigint>') END
"""
# Only a record with reactions to other events than `main` has this header.
_EVENT_COUNTS = f"""
    CASE WHEN get(headers, 1).key = '{EVENT_COUNTS_HEADER}'
         THEN from_json(CAST(get(headers, 1).value AS STRING), 'map<string, map<string, bigint>>') END
"""

_IS_LIST = "is_valid_utf8(text) AND startswith(trim(text), '[') AND endswith(trim(text), ']')"
_IS_WHOLE = "item.user_id IS NOT NULL AND item.emoji_type IS NOT NULL AND item.timestamp IS NOT NULL"
# The aggregator does not check the palette: it must count everything that ingest answered with 202. This expression
# only separates emoji from words and numbers of any language (ℹ is the one emoji that is a letter) and from other JSON,
# which `from_json` reads as text. That bounds the number of keys in `totals`. `emostream.swarms.reactions` has the same
# rule in Python.
_IS_EMOJI = r"""
    length(emoji) <= 16 AND emoji RLIKE '[^\\x00-\\x7F]' AND NOT emoji RLIKE '[\\p{L}\\p{Z}\\p{Cc}!-~&&[^ℹ#*0-9]]'
"""

# A reaction that names no event is to `main`.
_IS_EVENT = rf"coalesce(event RLIKE '^({EVENT_PATTERN})\\z', true)"

_JUDGED = f"""
    SELECT *,
        CASE WHEN NOT is_valid_utf8(text) THEN 'it is not UTF-8'
             WHEN NOT ({_IS_LIST}) THEN 'it is not a JSON list'
             WHEN reactions IS NULL THEN 'it does not parse as a list of reactions'
             WHEN NOT forall(reactions, item -> {_IS_WHOLE})
                  THEN 'an item lacks user_id, emoji_type or timestamp, or one is of another type'
             WHEN NOT forall(reactions.emoji_type, emoji -> {_IS_EMOJI}) THEN 'an emoji_type is not an emoji'
             WHEN NOT forall(reactions.event, event -> {_IS_EVENT}) THEN 'an event is not the id of an event'
        END AS reason
    FROM (SELECT *, {_READ} AS reactions FROM ({_TEXTS}))
"""

_BAD = f"""
    SELECT partition, offset, reason, length(value) AS size, substring(value, 1, {MAX_DEAD_LETTER_BYTES}) AS value
    FROM ({_JUDGED}) WHERE reason IS NOT NULL
"""


# The upper bound is more than any record holds, and small enough that a sum cannot overflow.
_IS_COUNT = "entry.value BETWEEN 1 AND 10000000"
# Turns a list into counts: one entry per reaction. An incomplete reaction has a null count.
_EACH_ONCE = f"""
    transform(reactions, item ->
        struct(item.event AS event, item.emoji_type AS key, CASE WHEN {_IS_WHOLE} THEN 1L END AS value))
"""
# The same of the headers' counts, for each emoji of each event.
_OF_MAIN = "transform(map_entries(counts), each -> struct(CAST(NULL AS STRING) AS event, each.key, each.value))"
_OF_EVENTS = """
    flatten(transform(map_entries(event_counts), of_event ->
        transform(map_entries(of_event.value), each -> struct(of_event.key AS event, each.key, each.value))))
"""
_OF_HEADERS = f"CASE WHEN event_counts IS NULL THEN {_OF_MAIN} ELSE concat({_OF_MAIN}, {_OF_EVENTS}) END"


def _groups_of(records: str) -> str:
    """Return SQL that sums records by partition, event and emoji.

    `records` has the columns `is_bad` and `entries`; in an entry, `key` is the emoji and `value` is its count.
    """
    # An empty or null list still gives one row with nulls, so that its offset is counted.
    return f"""
        SELECT *, is_bad OR NOT coalesce({_IS_EMOJI}, true) OR NOT {_IS_EVENT} AS is_suspect
        FROM (
            SELECT partition, entry.event, entry.key AS emoji,
                coalesce(sum(CASE WHEN {_IS_COUNT} THEN entry.value END), 0) AS reactions,
                count_if(coalesce(position, 0) = 0) AS records,
                min(offset) AS first,
                max(offset) AS last,
                bool_or(is_bad OR (position IS NOT NULL AND NOT coalesce({_IS_COUNT}, false))) AS is_bad
            FROM (SELECT partition, offset, is_bad, posexplode_outer(entries) AS (position, entry) FROM ({records}))
            GROUP BY partition, entry.event, entry.key
        )
    """


_GROUPS = _groups_of(f"""
    SELECT partition, offset,
        counts IS NULL AND (reactions IS NULL OR NOT ({_IS_LIST})) AS is_bad,
        CASE WHEN counts IS NULL THEN {_EACH_ONCE} ELSE {_OF_HEADERS} END AS entries
    FROM (SELECT *, CASE WHEN counts IS NULL THEN {_READ} END AS reactions
          FROM (SELECT *, {_COUNTS} AS counts, {_EVENT_COUNTS} AS event_counts FROM ({_TEXTS})))
""")
_GOOD_GROUPS = _groups_of(f"""
    SELECT partition, offset, false AS is_bad, {_EACH_ONCE} AS entries FROM ({_JUDGED}) WHERE reason IS NULL
""")


def count(batch: DataFrame, records: int) -> tuple[list[Group], list[DeadLetter]]:
    """Count the reactions of a micro-batch by partition, event and emoji, and collect its bad records as dead letters.

    `batch` has the columns of Spark's Kafka source, including `headers`. It has at most `records` rows.
    """
    if records <= SMALL_BATCH_RECORDS:
        batch = batch.coalesce(1)
    batch.createOrReplaceTempView("batch")
    sql = batch.sparkSession.sql
    rows = sql(_GROUPS).collect()
    if not any(row.is_suspect for row in rows):
        return [_group(row) for row in rows], []
    letters = [
        DeadLetter(row.partition, row.offset, row.reason, row.size, bytes(row.value)) for row in sql(_BAD).collect()
    ]
    good = [_group(row) for row in sql(_GOOD_GROUPS).collect()]
    return good + [_dead_letter_group(letter) for letter in letters], letters


def late_reactions(batch: DataFrame, events: Collection[str]) -> list[DeadLetter]:
    """Return the reactions to these events, which are archived or were never opened: one dead letter for each record.

    It holds these reactions alone; the others of the record count. Call it after `count`, with ids of events.
    """
    is_late = f"item -> item.event IN ({', '.join(f'{event!r}' for event in sorted(events))})"
    rows = batch.sparkSession.sql(f"""
        SELECT partition, offset, length(late) AS size, substring(late, 1, {MAX_DEAD_LETTER_BYTES}) AS value
        FROM (SELECT partition, offset, CAST(to_json(filter(reactions, {is_late})) AS BINARY) AS late
              FROM ({_JUDGED}) WHERE reason IS NULL AND exists(reactions, {is_late}))
    """).collect()
    reason = "these reactions are to an event that is archived, or was never opened"
    return [DeadLetter(row.partition, row.offset, reason, row.size, bytes(row.value)) for row in rows]


def _group(row: Any) -> Group:
    event = row.event or MAIN
    return Group(row.partition, row.emoji, row.reactions, row.records, row["first"], row["last"], event)


def _dead_letter_group(letter: DeadLetter) -> Group:
    return Group(letter.partition, None, 0, 1, letter.offset, letter.offset)

"""What Spark computes of a micro-batch: SQL expressions only, so that no reaction ever passes through Python.

A record counts entirely, or is set aside entirely. Ingest counts what it puts into a record and writes that beside it,
as a header, which is taken for the list; a record without it is read. Telling why a record is wrong costs about as much
again as reading it, and hardly ever is anything wrong. So the count is made first, with cheap signs that something is
wrong in some record or header; only where there are any is each list read and judged, whatever its header says, and the
good ones are counted again.

What an item must be like is as strict as `from_json` allows: it reads a number where a string is due (`"user_id": 5`
passes), and whatever follows the end of the list, as long as the record ends with `]`.
"""

from typing import Any

from pyspark.sql import DataFrame

from emostream.model import COUNTS_HEADER
from emostream.swarms.log import DeadLetter
from emostream.swarms.rules import Group

# So much of a bad record is kept. The whole of it stays in `reactions`, at the offset that the dead letter names.
MAX_DEAD_LETTER_BYTES = 4_096

# Up to here one task reads and counts a batch sooner than many tasks and a shuffle would be set going. Where that is
# too much for one core the next batch is larger, and is shared among all.
SMALL_BATCH_RECORDS = 1_000

_SCHEMA = "array<struct<user_id: string, emoji_type: string, timestamp: bigint>>"
# A record without a value is as wrong as an empty one.
_TEXTS = """
    SELECT partition, offset, headers, coalesce(value, X'') AS value, CAST(coalesce(value, X'') AS STRING) AS text
    FROM batch
"""
_READ = f"from_json(text, '{_SCHEMA}', map('allowSingleQuotes', 'false'))"
# Null where there is no such header, or no such thing in it.
_COUNTS = f"""
    CASE WHEN get(headers, 0).key = '{COUNTS_HEADER}'
         THEN from_json(CAST(get(headers, 0).value AS STRING), 'map<string, bigint>') END
"""

_IS_LIST = "is_valid_utf8(text) AND startswith(trim(text), '[') AND endswith(trim(text), ']')"
_IS_WHOLE = "item.user_id IS NOT NULL AND item.emoji_type IS NOT NULL AND item.timestamp IS NOT NULL"
# No palette here: whatever ingest has answered with 202 must be counted. This tells an emoji from words and numbers of
# any language (ℹ is the one emoji that is a letter), and from other JSON, which is read as its text. So it bounds what
# `totals` ever hold. `emostream.swarms.judging` says the same in Python.
_IS_EMOJI = r"""
    length(emoji) <= 16 AND emoji RLIKE '[^\\x00-\\x7F]' AND NOT emoji RLIKE '[\\p{L}\\p{Z}\\p{Cc}!-~&&[^ℹ#*0-9]]'
"""

_JUDGED = f"""
    SELECT *,
        CASE WHEN NOT is_valid_utf8(text) THEN 'it is not UTF-8'
             WHEN NOT ({_IS_LIST}) THEN 'it is not a JSON list'
             WHEN reactions IS NULL THEN 'it does not parse as a list of reactions'
             WHEN NOT forall(reactions, item -> {_IS_WHOLE})
                  THEN 'an item lacks user_id, emoji_type or timestamp, or one is of another type'
             WHEN NOT forall(reactions.emoji_type, emoji -> {_IS_EMOJI}) THEN 'an emoji_type is no emoji'
        END AS reason
    FROM (SELECT *, {_READ} AS reactions FROM ({_TEXTS}))
"""

_BAD = f"""
    SELECT partition, offset, reason, length(value) AS size, substring(value, 1, {MAX_DEAD_LETTER_BYTES}) AS value
    FROM ({_JUDGED}) WHERE reason IS NOT NULL
"""


# More than any record holds, and too little for a sum of them to overflow.
_IS_COUNT = "entry.value BETWEEN 1 AND 10000000"
# A list as counts: each of its reactions once. One that is not whole has no count.
_EACH_ONCE = f"transform(reactions, item -> struct(item.emoji_type AS key, CASE WHEN {_IS_WHOLE} THEN 1L END AS value))"


def _groups_of(records: str) -> str:
    """Groups of records with `is_bad`, and with `entries`: emoji as `key`, and how many of it as `value`."""
    # What is empty, or null, still gives one row, with nulls, so that its offset is seen.
    return f"""
        SELECT *, is_bad OR NOT coalesce({_IS_EMOJI}, true) AS is_suspect
        FROM (
            SELECT partition, entry.key AS emoji,
                coalesce(sum(CASE WHEN {_IS_COUNT} THEN entry.value END), 0) AS reactions,
                count_if(coalesce(position, 0) = 0) AS records,
                min(offset) AS first,
                max(offset) AS last,
                bool_or(is_bad OR (position IS NOT NULL AND NOT coalesce({_IS_COUNT}, false))) AS is_bad
            FROM (SELECT partition, offset, is_bad, posexplode_outer(entries) AS (position, entry) FROM ({records}))
            GROUP BY partition, entry.key
        )
    """


_GROUPS = _groups_of(f"""
    SELECT partition, offset,
        counts IS NULL AND (reactions IS NULL OR NOT ({_IS_LIST})) AS is_bad,
        CASE WHEN counts IS NULL THEN {_EACH_ONCE} ELSE map_entries(counts) END AS entries
    FROM (SELECT *, CASE WHEN counts IS NULL THEN {_READ} END AS reactions
          FROM (SELECT *, {_COUNTS} AS counts FROM ({_TEXTS})))
""")
_GOOD_GROUPS = _groups_of(f"""
    SELECT partition, offset, false AS is_bad, {_EACH_ONCE} AS entries FROM ({_JUDGED}) WHERE reason IS NULL
""")


def count(batch: DataFrame, records: int) -> tuple[list[Group], list[DeadLetter]]:
    """Count the reactions of a micro-batch by partition and emoji, and find the records that are none.

    `batch` has the columns of Spark's Kafka source, `headers` among them; `records` rows at most.
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


def _group(row: Any) -> Group:
    return Group(row.partition, row.emoji, row.reactions, row.records, row["first"], row["last"])


def _dead_letter_group(letter: DeadLetter) -> Group:
    return Group(letter.partition, None, 0, 1, letter.offset, letter.offset)

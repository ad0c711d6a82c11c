"""What Spark computes of a micro-batch: SQL expressions only, so that no reaction ever passes through Python.

A record counts entirely, or is set aside entirely. Telling why costs about as much again as counting, and hardly ever
is anything wrong. So the count is made first, with cheap signs that something is wrong in some record; only where
there are any is each record judged, and the good ones are counted again.

What an item must be like is as strict as `from_json` allows: it reads a number where a string is due (`"user_id": 5`
passes), and whatever follows the end of the list, as long as the record ends with `]`.
"""

from typing import Any

from pyspark.sql import DataFrame

from emostream.aggregator.log import DeadLetter
from emostream.aggregator.swarms import Group

# So much of a bad record is kept. The whole of it stays in `reactions`, at the offset that the dead letter names.
MAX_DEAD_LETTER_BYTES = 4_096

# Up to here one task reads and counts a batch sooner than many tasks and a shuffle would be set going. Where that is
# too much for one core the next batch is larger, and is shared among all.
SMALL_BATCH_RECORDS = 1_000

_SCHEMA = "array<struct<user_id: string, emoji_type: string, timestamp: bigint>>"
# A record without a value is as wrong as an empty one.
_RECORDS = f"""
    SELECT *, from_json(text, '{_SCHEMA}', map('allowSingleQuotes', 'false')) AS reactions
    FROM (SELECT partition, offset, coalesce(value, X'') AS value, CAST(coalesce(value, X'') AS STRING) AS text
          FROM batch)
"""

_IS_LIST = "is_valid_utf8(text) AND startswith(trim(text), '[') AND endswith(trim(text), ']')"
_IS_WHOLE = "item.user_id IS NOT NULL AND item.emoji_type IS NOT NULL AND item.timestamp IS NOT NULL"
# No palette here: whatever ingest has answered with 202 must be counted. This tells an emoji from words and numbers of
# any language (ℹ is the one emoji that is a letter), and so bounds what `totals` ever hold.
_IS_EMOJI = r"""
    length(emoji) <= 16 AND emoji RLIKE '[^\\x00-\\x7F]' AND NOT emoji RLIKE '[\\p{L}\\p{Z}\\p{Cc}&&[^ℹ]]'
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
    FROM ({_RECORDS})
"""

_BAD = f"""
    SELECT partition, offset, reason, length(value) AS size, substring(value, 1, {MAX_DEAD_LETTER_BYTES}) AS value
    FROM ({_JUDGED}) WHERE reason IS NOT NULL
"""


def _groups_of(records: str) -> str:
    # A list that is empty or did not parse still gives one row, with nulls, so that its offset is seen.
    return f"""
        SELECT *, is_bad OR NOT coalesce({_IS_EMOJI}, true) AS is_suspect
        FROM (
            SELECT partition, item.emoji_type AS emoji,
                count(position) AS reactions,
                count_if(coalesce(position, 0) = 0) AS records,
                min(offset) AS first,
                max(offset) AS last,
                bool_or(is_bad OR (position IS NOT NULL AND NOT ({_IS_WHOLE}))) AS is_bad
            FROM (SELECT partition, offset, reactions IS NULL OR NOT ({_IS_LIST}) AS is_bad,
                      posexplode_outer(reactions) AS (position, item)
                  FROM ({records}))
            GROUP BY partition, item.emoji_type
        )
    """


_GROUPS = _groups_of(_RECORDS)
_GOOD_GROUPS = _groups_of(f"SELECT * FROM ({_JUDGED}) WHERE reason IS NULL")


def count(batch: DataFrame, records: int) -> tuple[list[Group], list[DeadLetter]]:
    """Count the reactions of a micro-batch by partition and emoji, and find the records that are none.

    `batch` has the columns of Spark's Kafka source: `value` (binary), `partition`, `offset`; `records` rows at most.
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

"""What Spark computes of a micro-batch: SQL expressions only, so that no reaction ever passes through Python.

A record counts entirely, or is set aside entirely. Telling why costs about as much again as counting, and hardly ever
is anything wrong. So the count is made first, with cheap signs that something is wrong in some record; only where
there are any is each record judged, and the good ones are counted again.

What an item must be like is as strict as `from_json` allows: it reads a number where a string is due (`"user_id": 5`
passes), and whatever follows the list's end, as long as the record ends with `]`.
"""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql.functions import expr

from emostream.aggregator.log import DeadLetter
from emostream.aggregator.swarms import Group

# So much of a bad record is kept. The whole of it stays in `reactions`, at the offset that the dead letter names.
MAX_DEAD_LETTER_BYTES = 4_096

_SCHEMA = "array<struct<user_id: string, emoji_type: string, timestamp: bigint>>"
_PARSED = f"from_json(text, '{_SCHEMA}', map('allowSingleQuotes', 'false'))"
_IS_LIST = "startswith(trim(text), '[') AND endswith(trim(text), ']')"
_LACKS_FIELD = "{item}.user_id IS NULL OR {item}.emoji_type IS NULL OR {item}.timestamp IS NULL"
# No palette here: whatever ingest has answered with 202 must be counted. This tells an emoji from a word or a number,
# and bounds what `totals` hold.
_IS_EMOJI = r"length({emoji}) <= 32 AND {emoji} RLIKE '[^\\x00-\\x7F]'"

_REASON = f"""
    CASE WHEN NOT is_valid_utf8(text) THEN 'it is not UTF-8'
         WHEN NOT ({_IS_LIST}) THEN 'it is not a JSON list'
         WHEN reactions IS NULL THEN 'it does not parse as a list of reactions'
         WHEN exists(reactions, item -> {_LACKS_FIELD.format(item="item")})
              THEN 'an item lacks user_id, emoji_type or timestamp, or one is of another type'
         WHEN NOT forall(reactions, item -> {_IS_EMOJI.format(emoji="item.emoji_type")})
              THEN 'an emoji_type is no emoji'
    END
"""


def count(batch: DataFrame) -> tuple[list[Group], list[DeadLetter]]:
    """Count the reactions of a micro-batch by partition and emoji, and find the records that are none.

    `batch` has the columns of Spark's Kafka source: `value` (binary), `partition`, `offset`.
    """
    records = _parse(batch)
    rows = _groups(records).collect()
    if not any(row.is_suspect for row in rows):
        return [_group(row) for row in rows], []
    judged = records.withColumn("reason", expr(_REASON))
    bad = judged.where("reason IS NOT NULL").selectExpr(
        "partition",
        "offset",
        "reason",
        "length(value) AS size",
        f"substring(value, 1, {MAX_DEAD_LETTER_BYTES}) AS value",
    )
    letters = [DeadLetter(row.partition, row.offset, row.reason, row.size, bytes(row.value)) for row in bad.collect()]
    good = _groups(judged.where("reason IS NULL")).collect()
    return [*map(_group, good), *map(_dead_letter_group, letters)], letters


def _parse(batch: DataFrame) -> DataFrame:
    # A record without a value is as wrong as an empty one.
    text = batch.selectExpr("partition", "offset", "coalesce(value, X'') AS value").selectExpr(
        "*", "CAST(value AS STRING) AS text"
    )
    return text.selectExpr("*", f"{_PARSED} AS reactions")


def _groups(records: DataFrame) -> DataFrame:
    # A list that is empty or did not parse still gives one row, with nulls, so that its offset is seen.
    items = records.selectExpr(
        "partition",
        "offset",
        f"reactions IS NULL OR NOT is_valid_utf8(text) OR NOT ({_IS_LIST}) AS is_bad",
        "posexplode_outer(reactions) AS (position, item)",
    ).selectExpr(
        "partition",
        "offset",
        "item.emoji_type AS emoji",
        "position",
        f"is_bad OR (position IS NOT NULL AND ({_LACKS_FIELD.format(item='item')})) AS is_bad",
    )
    groups = items.groupBy("partition", "emoji").agg(
        expr("count(position) AS reactions"),
        expr("count_if(coalesce(position, 0) = 0) AS records"),
        expr("min(offset) AS first"),
        expr("max(offset) AS last"),
        expr("bool_or(is_bad) AS is_bad"),
    )
    return groups.selectExpr("*", f"is_bad OR NOT coalesce({_IS_EMOJI.format(emoji='emoji')}, true) AS is_suspect")


def _group(row: Any) -> Group:
    return Group(row.partition, row.emoji, row.reactions, row.records, row["first"], row["last"])


def _dead_letter_group(letter: DeadLetter) -> Group:
    return Group(letter.partition, None, 0, 1, letter.offset, letter.offset)

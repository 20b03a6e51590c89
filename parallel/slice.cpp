#include "parallel/slice.h"

#include "common/check.h"

namespace enodia {

Slice share_of(int64_t total, int parts, int index) {
  ENODIA_CHECK(index >= 0 && index < parts, "part ", index, " of ", parts);
  const int64_t first = total * index / parts;
  return {first, total * (index + 1) / parts - first};
}

HeadShare heads_of(int64_t query_heads, int64_t key_value_heads, int tp, int rank) {
  ENODIA_CHECK(rank >= 0 && rank < tp, "rank ", rank, " of ", tp);
  const int64_t readers = query_heads / key_value_heads;
  HeadShare share;
  if (key_value_heads >= tp) {
    share.key_value = share_of(key_value_heads, tp, rank);
    share.query = {share.key_value.first * readers, share.key_value.count * readers};
    share.first_holder = rank;
    return share;
  }
  const auto head_of = [&](int64_t r) { return r * key_value_heads / tp; };
  share.key_value = {head_of(rank), 1};
  share.first_holder = rank;
  while (share.first_holder > 0 && head_of(share.first_holder - 1) == share.key_value.first) {
    --share.first_holder;
  }
  int end = rank + 1;
  while (end < tp && head_of(end) == share.key_value.first) {
    ++end;
  }
  share.holders = end - share.first_holder;
  share.query = share_of(readers, share.holders, rank - share.first_holder);
  share.query.first += share.key_value.first * readers;
  return share;
}

}  // namespace enodia

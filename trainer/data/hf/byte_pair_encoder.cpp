#include "trainer/data/hf/byte_pair_encoder.h"

#include <algorithm>
#include <limits>

#include "common/check.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

constexpr int32_t kEnd = -1;

// Of equal ranks the leftmost pair comes first.
constexpr auto later = [](const auto& a, const auto& b) {
  return a.merge.rank != b.merge.rank ? a.merge.rank > b.merge.rank : a.left > b.left;
};

}  // namespace

void BytePairEncoder::append_ids(std::string_view piece, std::vector<int64_t>& ids) {
  if (model_.ignores_merges()) {
    const int32_t whole = model_.id_of(piece);
    if (whole != BytePairModel::kNone) {
      ids.push_back(whole);
      return;
    }
  }
  start(piece);
  merge_all();
  for (const Link& link : chain_) {
    if (!link.gone) {
      ids.push_back(link.id);
    }
  }
}

void BytePairEncoder::start(std::string_view piece) {
  ENODIA_CHECK(piece.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  chain_.clear();
  bool unknown_pending = false;
  while (!piece.empty()) {
    const std::string_view from = piece;
    const int32_t id = model_.id_of_character(take_character(piece));
    if (id == BytePairModel::kNone) {
      add_unknown(from.substr(0, from.size() - piece.size()), unknown_pending);
      continue;
    }
    if (unknown_pending) {
      add(model_.unknown_id());
      unknown_pending = false;
    }
    add(id);
  }
  if (unknown_pending) {
    add(model_.unknown_id());
  }
}

void BytePairEncoder::add(int32_t id) {
  const auto index = static_cast<int32_t>(chain_.size());
  if (!chain_.empty()) {
    chain_.back().after = index;
  }
  chain_.push_back({id, index - 1, kEnd, false});
}

/// A token for each byte when there is one for all of them. Otherwise the unknown token, once for
/// a run of such characters where they are fused: it waits (`pending`) for what follows.
void BytePairEncoder::add_unknown(std::string_view character, bool& pending) {
  const auto byte_id = [this](char byte) { return model_.id_of_byte(static_cast<uint8_t>(byte)); };
  if (model_.has_byte_fallback() && std::all_of(character.begin(), character.end(), [&](char byte) {
        return byte_id(byte) != BytePairModel::kNone;
      })) {
    for (const char byte : character) {
      add(byte_id(byte));
    }
    return;
  }
  const int32_t unknown = model_.unknown_id();
  if (pending && !model_.fuses_unknown()) {
    add(unknown);
  }
  pending = unknown != BytePairModel::kNone;
}

void BytePairEncoder::consider(int32_t left) {
  if (left == kEnd || chain_[static_cast<size_t>(left)].after == kEnd) {
    return;
  }
  const Link& link = chain_[static_cast<size_t>(left)];
  const PairMerge* merge = model_.find_merge(link.id, chain_[static_cast<size_t>(link.after)].id);
  if (merge != nullptr) {
    queue_.push_back({*merge, left});
    std::push_heap(queue_.begin(), queue_.end(), later);
  }
}

void BytePairEncoder::merge_all() {
  queue_.clear();
  for (int32_t left = 0; left < static_cast<int32_t>(chain_.size()); ++left) {
    consider(left);
  }
  while (!queue_.empty()) {
    const Candidate next = queue_.front();
    std::pop_heap(queue_.begin(), queue_.end(), later);
    queue_.pop_back();
    Link& left = chain_[static_cast<size_t>(next.left)];
    if (left.gone || left.after == kEnd) {
      continue;
    }
    Link& right = chain_[static_cast<size_t>(left.after)];
    const PairMerge* merge = model_.find_merge(left.id, right.id);
    if (merge == nullptr || merge->merged != next.merge.merged) {
      continue;  // one of the two has become another token since
    }
    left.id = next.merge.merged;
    left.after = right.after;
    right.gone = true;
    if (right.after != kEnd) {
      chain_[static_cast<size_t>(right.after)].before = next.left;
    }
    consider(left.before);
    consider(next.left);
  }
}

}  // namespace enodia

#include "trainer/state/placement_state.h"

#include <algorithm>

#include "common/json.h"

namespace enodia {
namespace {

/// What the numbers of a policy's state depend on.
Json circumstances(const PlacementOptions& options, int world_size) {
  return {{"policy", std::string(options.policy->name)},
          {"extra_slots", options.extra_slots},
          {"ranks", world_size}};
}

/// Nothing unless it is a list of integers.
template <typename Integer>
std::optional<std::vector<Integer>> integers_of(const Json& json) {
  const bool is_list = json.is_array() && std::all_of(json.begin(), json.end(), [](const Json& n) {
                         return n.is_number_integer();
                       });
  return is_list ? std::optional(json.get<std::vector<Integer>>()) : std::nullopt;
}

/// Nothing unless it is a list of lists of integers.
template <typename Integer>
std::optional<std::vector<std::vector<Integer>>> rows_of(const Json& json) {
  if (!json.is_array()) {
    return std::nullopt;
  }
  std::vector<std::vector<Integer>> rows;
  for (const Json& entry : json) {
    std::optional<std::vector<Integer>> row = integers_of<Integer>(entry);
    if (!row) {
      return std::nullopt;
    }
    rows.push_back(std::move(*row));
  }
  return rows;
}

/// How many experts each rank owns; nothing when one belongs to no rank.
std::optional<std::vector<int64_t>> count_owned(const ExpertOwners& owners, int world_size) {
  std::vector<int64_t> owned(world_size, 0);
  for (const std::vector<int32_t>& layer : owners) {
    for (const int32_t owner : layer) {
      if (owner < 0 || owner >= world_size) {
        return std::nullopt;
      }
      ++owned[owner];
    }
  }
  return owned;
}

/// Whether experts could change owners from one to the other.
bool fit(const ExpertOwners& present, const ExpertOwners& stored, int world_size) {
  return std::equal(present.begin(),
                    present.end(),
                    stored.begin(),
                    stored.end(),
                    [](const auto& a, const auto& b) { return a.size() == b.size(); }) &&
         count_owned(present, world_size) == count_owned(stored, world_size);
}

}  // namespace

bool has_placement_state(Decoder& decoder, const PlacementOptions& options) {
  return decoder.planner() != nullptr &&
         (options.policy != nullptr || options.reshard_interval > 0 ||
          decoder.experts()->owners_have_moved());
}

std::string placement_state(Decoder& decoder, const PlacementOptions& options, int world_size) {
  Json state = Json::object();
  if (options.policy != nullptr) {
    state["for"] = circumstances(options, world_size);
    state["state"] = decoder.planner()->save();
  }
  if (options.reshard_interval > 0) {
    state["loads"] = decoder.planner()->history().loads();
  }
  if (options.reshard_interval > 0 || decoder.experts()->owners_have_moved()) {
    state["owners"] = decoder.experts()->owners();
  }
  return state.dump();
}

StoredPlacement read_placement(const Checkpoint& checkpoint,
                               const PlacementOptions& options,
                               int world_size,
                               Decoder& decoder) {
  StoredPlacement stored;
  if (!checkpoint.has_attachment(kPlacementFile)) {
    return stored;
  }
  const Json saved = parse_json(checkpoint.attachment(kPlacementFile), kPlacementFile);
  const auto entry = [&](const char* key) {
    return saved.is_object() && saved.contains(key) ? saved[key] : Json();
  };
  if (options.policy != nullptr && entry("for") == circumstances(options, world_size)) {
    stored.policy = integers_of<int64_t>(entry("state"));
  }
  stored.loads = rows_of<int64_t>(entry("loads"));
  stored.owners = rows_of<int32_t>(entry("owners"));
  if (stored.owners && (!decoder.experts()->can_move() ||
                        !fit(decoder.experts()->owners(), *stored.owners, world_size))) {
    stored.owners.reset();
  }
  return stored;
}

}  // namespace enodia

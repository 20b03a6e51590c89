#include "parallel/token_dispatcher.h"

#include <algorithm>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include "collectives/collectives.h"
#include "common/check.h"
#include "common/random.h"
#include "parallel/placement/token_split.h"
#include "parallel/tensor_view.h"

namespace enodia {
namespace {

/// Rank and slot of a replica, as a bin: bins are numbered rank by rank, slot by slot.
struct Bins {
  std::vector<int64_t> first_of_rank;  // [W + 1]
  std::vector<int32_t> of_replica;     // [replicas]
};

Bins number_bins(const ExpertPlacement& placement) {
  Bins bins;
  bins.first_of_rank.push_back(0);
  for (int rank = 0; rank < placement.world_size(); ++rank) {
    bins.first_of_rank.push_back(bins.first_of_rank.back() +
                                 static_cast<int64_t>(placement.experts_on(rank).size()));
  }
  for (int expert = 0; expert < placement.num_experts(); ++expert) {
    for (const int32_t rank : placement.ranks_of(expert)) {
      bins.of_replica.push_back(
          static_cast<int32_t>(bins.first_of_rank[rank] + placement.slot_of(rank, expert)));
    }
  }
  return bins;
}

/// Where this rank's tokens of each expert go, in the order of its tokens.
struct Shares {
  std::vector<ReplicaShare> all;  // expert by expert
  std::vector<size_t> first;      // [E + 1]
};

Shares split_all(int rank,
                 const Topology& topology,
                 const ExchangedCounts& counts,
                 const ExpertPlan& plan) {
  const int experts = plan.placement.num_experts();
  const std::span<const int64_t> quota(plan.quota);
  std::vector<int64_t> of_nodes(counts.num_nodes);
  std::vector<int64_t> of_ranks(counts.node_rows.size() / experts);
  Shares shares;
  for (int expert = 0; expert < experts; ++expert) {
    const auto pick = [&](const std::vector<int64_t>& rows, std::vector<int64_t>& column) {
      for (size_t i = 0; i < column.size(); ++i) {
        column[i] = rows[i * experts + expert];
      }
    };
    pick(counts.node_totals, of_nodes);
    pick(counts.node_rows, of_ranks);
    const auto hosts = plan.placement.ranks_of(expert);
    shares.first.push_back(shares.all.size());
    split_tokens(topology,
                 rank,
                 {hosts,
                  quota.subspan(plan.placement.first_replica(expert), hosts.size()),
                  of_nodes,
                  of_ranks},
                 shares.all);
  }
  shares.first.push_back(shares.all.size());
  return shares;
}

/// For each choice the bin it goes to, -1 for none.
std::vector<int32_t> choose_bins(std::span<const int32_t> expert_ids,
                                 Shares shares,
                                 const ExpertPlacement& placement,
                                 const Bins& bins) {
  std::vector<size_t> current(shares.first.begin(), shares.first.end() - 1);  // [E]
  std::vector<int32_t> chosen(expert_ids.size(), -1);
  for (size_t i = 0; i < expert_ids.size(); ++i) {
    const int32_t expert = expert_ids[i];
    if (expert < 0) {
      continue;
    }
    size_t& share = current[expert];
    while (share < shares.first[expert + 1] && shares.all[share].tokens == 0) {
      ++share;
    }
    if (share == shares.first[expert + 1]) {
      throw CommError(detail::concat("there are more copies of expert ",
                                     expert,
                                     " than the ranks have announced; a message was lost or "
                                     "damaged"));
    }
    --shares.all[share].tokens;
    chosen[i] = bins.of_replica[placement.first_replica(expert) + shares.all[share].replica];
  }
  return chosen;
}

std::vector<int64_t> prefix_sums(const std::vector<int64_t>& counts) {
  std::vector<int64_t> offsets(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), offsets.begin() + 1);
  return offsets;
}

at::Tensor empty_indices(at::IntArrayRef shape) {
  return at::empty(shape, at::TensorOptions().dtype(at::kLong));
}

/// The source side: a stable counting sort of the choices by bin. Returns the count of each bin.
std::vector<int64_t> sort_choices(const std::vector<int32_t>& chosen,
                                  int64_t num_bins,
                                  int64_t choices_per_token,
                                  TokenMap& map) {
  std::vector<int64_t> bin_counts(num_bins, 0);
  for (const int32_t bin : chosen) {
    if (bin >= 0) {
      ++bin_counts[bin];
    }
  }
  std::vector<int64_t> next = prefix_sums(bin_counts);
  map.sent_token = empty_indices({next.back()});
  map.sent_choice = empty_indices({next.back()});
  auto* position = map.sent_position.data_ptr<int64_t>();
  auto* token = map.sent_token.data_ptr<int64_t>();
  auto* choice = map.sent_choice.data_ptr<int64_t>();
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i] < 0) {
      position[i] = -1;
      continue;
    }
    const int64_t place = next[chosen[i]]++;
    position[i] = place;
    token[place] = static_cast<int64_t>(i) / choices_per_token;
    choice[place] = static_cast<int64_t>(i);
  }
  return bin_counts;
}

/// Of a plan and the counts that it was made for.
uint64_t agreement_hash(const ExpertPlan& plan,
                        const ExchangedCounts& counts,
                        ExchangedCounts::Scope scope) {
  RandomKey key = RandomKey(counts.hash(scope)).with(plan.placement.hash());
  for (const int64_t quota : plan.quota) {
    key = key.with(static_cast<uint64_t>(quota));
  }
  return key.value();
}

/// Copies from each rank for each slot here, [W, slots]. A hash of the plan and of the counts that
/// it was made for rides along: who planned otherwise would send other copies than are expected,
/// and wait for other replicas.
std::vector<int64_t> exchange_bin_counts(Communicator& group,
                                         const Bins& bins,
                                         const std::vector<int64_t>& bin_counts,
                                         const ExpertPlan& plan,
                                         const ExchangedCounts& counts,
                                         uint64_t of_group) {
  const int64_t slots = bins.first_of_rank[group.rank() + 1] - bins.first_of_rank[group.rank()];
  const uint64_t of_node = agreement_hash(plan, counts, ExchangedCounts::Scope::kNode);
  const auto hash_for = [&](int peer) {
    const bool is_near = group.nodes()[peer] == group.nodes()[group.rank()];
    return static_cast<int64_t>(is_near ? of_node : of_group);
  };
  std::vector<int64_t> leaving;  // for each rank its slots' counts and the hash
  std::vector<int64_t> arriving(group.world_size() * (slots + 1));
  std::vector<int64_t> send_counts;
  for (int peer = 0; peer < group.world_size(); ++peer) {
    const auto first = bin_counts.begin() + bins.first_of_rank[peer];
    const auto last = bin_counts.begin() + bins.first_of_rank[peer + 1];
    leaving.insert(leaving.end(), first, last);
    leaving.push_back(hash_for(peer));
    send_counts.push_back(last - first + 1);
  }
  const std::vector<int64_t> receive_counts(group.world_size(), slots + 1);
  all_to_all(
      group, view(std::span(leaving)), send_counts, view(std::span(arriving)), receive_counts)
      .wait();

  std::vector<int64_t> copies;
  for (int peer = 0; peer < group.world_size(); ++peer) {
    const auto first = arriving.begin() + peer * (slots + 1);
    if (first[slots] != hash_for(peer)) {
      throw CommError(detail::concat("ranks ",
                                     group.rank(),
                                     " and ",
                                     peer,
                                     " have different plans, or counts of tokens to plan for; a "
                                     "message between them was lost or damaged, or their programs "
                                     "differ"));
    }
    copies.insert(copies.end(), first, first + slots);
  }
  return copies;
}

/// The copies that arrive for each slot must be its quota.
void check_arriving(const std::vector<int64_t>& arriving, const ExpertPlan& plan, int rank) {
  const auto experts = plan.placement.experts_on(rank);
  for (size_t slot = 0; slot < experts.size(); ++slot) {
    const auto ranks = plan.placement.ranks_of(experts[slot]);
    int64_t missing = plan.quota[plan.placement.first_replica(experts[slot]) +
                                 (std::find(ranks.begin(), ranks.end(), rank) - ranks.begin())];
    const int64_t quota = missing;
    for (size_t i = slot; i < arriving.size(); i += experts.size()) {
      if (arriving[i] < 0 || arriving[i] > missing) {
        missing = -1;
        break;
      }
      missing -= arriving[i];
    }
    if (missing != 0) {
      throw CommError(detail::concat("rank ",
                                     rank,
                                     " is to compute ",
                                     quota,
                                     " token copies of expert ",
                                     experts[slot],
                                     ", but the ranks announce others; a message was lost or "
                                     "damaged"));
    }
  }
}

/// The receiving side: arrival is by (rank, slot, token), compute wants (slot, rank, token).
void order_arrivals(const std::vector<int64_t>& arriving, int world_size, TokenMap& map) {
  const int64_t slots = static_cast<int64_t>(arriving.size()) / world_size;
  const std::vector<int64_t> arrival_offsets = prefix_sums(arriving);
  map.received_order = empty_indices({arrival_offsets.back()});
  map.arrival_order = empty_indices({arrival_offsets.back()});
  auto* order = map.received_order.data_ptr<int64_t>();
  auto* inverse = map.arrival_order.data_ptr<int64_t>();
  int64_t row = 0;
  map.slot_offsets.assign(1, 0);
  for (int64_t slot = 0; slot < slots; ++slot) {
    for (int rank = 0; rank < world_size; ++rank) {
      const int64_t block = rank * slots + slot;
      for (int64_t from = arrival_offsets[block]; from < arrival_offsets[block + 1]; ++from) {
        order[row] = from;
        inverse[from] = row++;
      }
    }
    map.slot_offsets.push_back(row);
  }
}

/// Sizes in elements for rows of `width`.
std::vector<int64_t> scaled(const std::vector<int64_t>& counts, int64_t width) {
  std::vector<int64_t> sizes(counts);
  for (int64_t& size : sizes) {
    size *= width;
  }
  return sizes;
}

/// Starts the exchange of rows; `received` takes what arrives.
Work exchange_rows(Communicator& group,
                   const at::Tensor& rows,
                   const std::vector<int64_t>& send_counts,
                   const std::vector<int64_t>& receive_counts,
                   const Queue& queue,
                   at::Tensor& received) {
  std::vector<int64_t> shape = rows.sizes().vec();
  const int64_t width = rows.dim() > 1 ? rows.size(1) : 1;
  shape[0] = std::accumulate(receive_counts.begin(), receive_counts.end(), int64_t{0});
  received = at::empty(shape, rows.options());
  return all_to_all(group,
                    view(rows),
                    scaled(send_counts, width),
                    view(received),
                    scaled(receive_counts, width),
                    queue);
}

template <typename From, typename To>
void add_row(const From* from, To* to, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    to[i] += static_cast<To>(from[i]);
  }
}

template <typename From, typename To>
void add_copies(const at::Tensor& rows, const at::Tensor& position, const at::Tensor& y) {
  const auto* index = position.data_ptr<int64_t>();
  const int64_t width = rows.size(1);
  for (int64_t t = 0; t < position.size(0); ++t) {
    for (int64_t k = 0; k < position.size(1); ++k, ++index) {
      if (*index >= 0) {
        add_row(rows.const_data_ptr<From>() + *index * width, y.data_ptr<To>() + t * width, width);
      }
    }
  }
}

void add_copies_on_device(const at::Tensor& rows, const at::Tensor& position, at::Tensor y) {
  for (int64_t k = 0; rows.size(0) > 0 && k < position.size(1); ++k) {
    const at::Tensor index = position.select(1, k);
    y.add_(rows.index_select(0, index.clamp_min(0)).masked_fill_(index.lt(0).unsqueeze(1), 0));
  }
}

/// y[t] = sum over k of rows[position[t, k]], in order of k and in the wide type.
at::Tensor sum_copies(const at::Tensor& rows, const at::Tensor& position, at::ScalarType wide) {
  const at::Tensor y = at::zeros({position.size(0), rows.size(1)}, rows.options().dtype(wide));
  if (!rows.is_cpu()) {
    add_copies_on_device(rows, position, y);
  } else if (wide == at::kDouble) {
    const at::Tensor wide_rows = rows.to(wide);
    add_copies<double, double>(wide_rows, position, y);
  } else if (rows.scalar_type() == at::kBFloat16) {
    add_copies<at::BFloat16, float>(rows, position, y);
  } else {
    add_copies<float, float>(rows, position, y);
  }
  return y;
}

}  // namespace

TokenMap TokenDispatcher::plan(const at::Tensor& expert_ids,
                               const ExchangedCounts& counts,
                               const ExpertPlan& plan) const {
  ENODIA_CHECK_EQ(
      plan.placement.world_size(), group_.world_size(), "the plan is for another group");
  const Bins bins = number_bins(plan.placement);
  const std::span<const int32_t> ids(expert_ids.data_ptr<int32_t>(),
                                     static_cast<size_t>(expert_ids.numel()));
  TokenMap map;
  map.sent_position = empty_indices(expert_ids.sizes());
  const Topology topology({group_.nodes().begin(), group_.nodes().end()});
  const std::vector<int64_t> bin_counts = sort_choices(
      choose_bins(ids, split_all(group_.rank(), topology, counts, plan), plan.placement, bins),
      bins.first_of_rank.back(),
      expert_ids.size(1),
      map);
  map.plan_hash = agreement_hash(plan, counts, ExchangedCounts::Scope::kGroup);
  const std::vector<int64_t> arriving =
      exchange_bin_counts(group_, bins, bin_counts, plan, counts, map.plan_hash);
  check_arriving(arriving, plan, group_.rank());
  const int64_t slots = static_cast<int64_t>(arriving.size()) / group_.world_size();
  for (int peer = 0; peer < group_.world_size(); ++peer) {
    const auto sum = [](auto first, auto last) { return std::accumulate(first, last, int64_t{0}); };
    map.send_counts.push_back(sum(bin_counts.begin() + bins.first_of_rank[peer],
                                  bin_counts.begin() + bins.first_of_rank[peer + 1]));
    map.receive_counts.push_back(
        sum(arriving.begin() + peer * slots, arriving.begin() + (peer + 1) * slots));
  }
  order_arrivals(arriving, group_.world_size(), map);
  for (at::Tensor* indices : {&map.sent_position,
                              &map.sent_token,
                              &map.sent_choice,
                              &map.received_order,
                              &map.arrival_order}) {
    *indices = indices->to(device_.place);
  }
  return map;
}

at::Tensor MovingRows::wait() {
  work_.wait(queue_);
  const at::Tensor arrived = std::move(arriving_);
  return std::exchange(arrange_, nullptr)(arrived);
}

at::Tensor TokenDispatcher::on_wire(const at::Tensor& rows) const {
  return wire_ ? rows.to(scalar_type(*wire_)) : rows;
}

MovingRows TokenDispatcher::to_owners(const TokenMap& map,
                                      const at::Tensor& copies,
                                      at::ScalarType type) const {
  at::Tensor arriving;
  Work work =
      exchange_rows(group_, copies, map.send_counts, map.receive_counts, device_.queue, arriving);
  return {
      std::move(work), device_.queue, std::move(arriving), [&map, type](const at::Tensor& arrived) {
        return at::index_select(arrived, 0, map.received_order).to(type);
      }};
}

MovingRows TokenDispatcher::to_sources(const TokenMap& map,
                                       const at::Tensor& results,
                                       std::function<at::Tensor(const at::Tensor&)> arrange) const {
  at::Tensor arriving;
  Work work = exchange_rows(group_,
                            at::index_select(results, 0, map.arrival_order),
                            map.receive_counts,
                            map.send_counts,
                            device_.queue,
                            arriving);
  return {std::move(work), device_.queue, std::move(arriving), std::move(arrange)};
}

MovingRows TokenDispatcher::send(const TokenMap& map, const at::Tensor& x) const {
  return to_owners(map, at::index_select(on_wire(x), 0, map.sent_token), x.scalar_type());
}

MovingRows TokenDispatcher::collect(const TokenMap& map, const at::Tensor& y) const {
  const at::ScalarType wide = Precision(y.scalar_type()).wide;
  return to_sources(map, on_wire(y), [&map, wide](const at::Tensor& rows) {
    return sum_copies(rows, map.sent_position, wide);
  });
}

MovingRows TokenDispatcher::send_choices(const TokenMap& map, const at::Tensor& weights) const {
  return to_owners(
      map, at::index_select(weights.reshape({-1}), 0, map.sent_choice), weights.scalar_type());
}

MovingRows TokenDispatcher::collect_choices(const TokenMap& map, const at::Tensor& values) const {
  return to_sources(map, values, [&map](const at::Tensor& rows) {
    at::Tensor flat = at::zeros({map.sent_position.numel()}, rows.options());
    flat.index_copy_(0, map.sent_choice, rows);
    return flat.view(map.sent_position.sizes());
  });
}

}  // namespace enodia

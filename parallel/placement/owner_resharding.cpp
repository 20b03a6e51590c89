#include "parallel/placement/owner_resharding.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/check.h"
#include "parallel/placement/layer_shares.h"

namespace enodia {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::min() / 4;

/// An expert of a layer and what the cost falls by when it moves; negative gains are losses.
struct Move {
  int64_t gain = kNever;
  int layer = -1;
  int expert = -1;
};

/// Two experts that change places: each goes where the other was.
struct Exchange {
  int64_t gain = kNever;
  Move one, other;
};

/// The best two moves between two ranks, of different layers.
struct BestMoves {
  Move first, second;
  void offer(const Move& move) {
    if (move.gain > first.gain) {
      second = std::exchange(first, move);
    } else if (move.gain > second.gain) {
      second = move;
    }
  }
};

/// Makes owners better by exchanges. A move (of an expert to a rank) and an exchange inside a layer
/// depend on that layer alone, so only those of the two layers of an exchange are found anew. The
/// gains of moves in different layers add up.
class OwnerSearch {
 public:
  OwnerSearch(ExpertOwners owners, const ExpertLoads& loads, const Topology& topology)
      : owners_(std::move(owners)),
        ranks_(topology.num_ranks()),
        moves_(owners_.size(), std::vector<Move>(static_cast<size_t>(ranks_) * ranks_)),
        inside_(owners_.size()) {
    for (size_t layer = 0; layer < owners_.size(); ++layer) {
      shares_.emplace_back(loads[layer], owners_[layer], topology);
      look_at(static_cast<int>(layer));
    }
  }

  /// Exchanges while one gains so much, a part of a term of the cost.
  void improve(double least_gain) {
    const auto least =
        static_cast<int64_t>(least_gain * static_cast<double>(shares_.front().even_term()));
    for (Exchange best = find_best(); best.gain >= std::max<int64_t>(least, 1);
         best = find_best()) {
      take(best);
    }
  }

  /// Of each layer's slowest rank, summed.
  int64_t of_slowest() const {
    int64_t sum = 0;
    for (const LayerShares& layer : shares_) {
      sum += layer.of_slowest();
    }
    return sum;
  }
  const ExpertOwners& owners() const { return owners_; }

 private:
  Move& move_of(int layer, int from, int to) { return moves_[layer][from * ranks_ + to]; }

  /// Finds the layer's best move between each two ranks, and its best exchange.
  void look_at(int layer) {
    const LayerShares& shares = shares_[layer];
    const std::vector<int32_t>& owners = owners_[layer];
    std::fill(moves_[layer].begin(), moves_[layer].end(), Move());
    inside_[layer] = Exchange();
    for (int expert = 0; expert < std::ssize(owners); ++expert) {
      const int from = owners[expert];
      const int64_t share = shares.of_expert(expert);
      for (int to = 0; to < ranks_; ++to) {
        const int64_t gain = shares.cost() - shares.cost_after(from, to, share);
        if (to != from && gain > move_of(layer, from, to).gain) {
          move_of(layer, from, to) = {gain, layer, expert};
        }
      }
      for (int other = 0; other < expert; ++other) {
        const int to = owners[other];
        if (to == from) {
          continue;
        }
        const int64_t gain =
            shares.cost() - shares.cost_after(from, to, share - shares.of_expert(other));
        if (gain > inside_[layer].gain) {
          inside_[layer] = {gain, {gain, layer, expert}, {0, layer, other}};
        }
      }
    }
  }

  Exchange find_best() {
    Exchange best;
    for (const Exchange& inside : inside_) {
      best = inside.gain > best.gain ? inside : best;
    }
    for (int one = 0; one < ranks_; ++one) {
      for (int other = 0; other < one; ++other) {
        BestMoves there;
        BestMoves back;
        for (int layer = 0; layer < std::ssize(owners_); ++layer) {
          there.offer(move_of(layer, one, other));
          back.offer(move_of(layer, other, one));
        }
        for (const Move* to : {&there.first, &there.second}) {
          for (const Move* fro : {&back.first, &back.second}) {
            if (to->layer != fro->layer && to->gain + fro->gain > best.gain) {
              best = {to->gain + fro->gain, *to, *fro};
            }
          }
        }
      }
    }
    return best;
  }

  void take(const Exchange& exchange) {
    const auto [one, other] = std::pair(exchange.one, exchange.other);
    int32_t& of_one = owners_[one.layer][one.expert];
    int32_t& of_other = owners_[other.layer][other.expert];
    shares_[one.layer].move(of_one, of_other, shares_[one.layer].of_expert(one.expert));
    shares_[other.layer].move(of_other, of_one, shares_[other.layer].of_expert(other.expert));
    std::swap(of_one, of_other);
    look_at(one.layer);
    if (other.layer != one.layer) {
      look_at(other.layer);
    }
  }

  ExpertOwners owners_;
  int ranks_;
  std::vector<LayerShares> shares_;       // [layers]
  std::vector<std::vector<Move>> moves_;  // [layers][from * ranks + to]
  std::vector<Exchange> inside_;          // [layers]
};

}  // namespace

int64_t count_moved(const ExpertOwners& before, const ExpertOwners& after) {
  int64_t moved = 0;
  for (size_t layer = 0; layer < before.size(); ++layer) {
    for (size_t expert = 0; expert < before[layer].size(); ++expert) {
      moved += before[layer][expert] != after[layer][expert] ? 1 : 0;
    }
  }
  return moved;
}

Resharding reshard(const ExpertOwners& present,
                   const ExpertLoads& loads,
                   const Topology& topology,
                   double least_gain) {
  ENODIA_CHECK_EQ(present.size(), loads.size(), "owners and loads of different layers");
  for (size_t layer = 0; layer < present.size(); ++layer) {
    ENODIA_CHECK_EQ(present[layer].size(), loads[layer].size(), "experts of layer ", layer);
    for (const int32_t owner : present[layer]) {
      ENODIA_CHECK(owner >= 0 && owner < topology.num_ranks(), "there is no rank ", owner);
    }
  }
  if (present.empty() || topology.num_ranks() == 1) {
    return {present};
  }
  OwnerSearch search(present, loads, topology);
  const int64_t before = search.of_slowest();
  search.improve(least_gain);
  const int64_t saved = before - search.of_slowest();
  const double gain = before > 0 ? static_cast<double>(saved) / static_cast<double>(before) : 0.0;
  if (saved <= 0 || gain < least_gain) {
    return {present};
  }
  return {search.owners(), count_moved(present, search.owners()), gain};
}

}  // namespace enodia

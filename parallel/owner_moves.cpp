// How rows of an ExpertStore change owners.
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>

#include "common/check.h"
#include "parallel/expert_store.h"
#include "parallel/tensor_view.h"

namespace enodia {

bool ExpertStore::can_move() const {
  return enodia::can_move(layers_, mesh_.world_size());
}

std::vector<ExpertStore::RowMove> ExpertStore::list_moves(const ExpertOwners& owners) const {
  ENODIA_CHECK_EQ(owners.size(), layers_.size(), "owners of other layers");
  std::vector<int64_t> more(mesh_.world_size(), 0);  // rows that a rank has then
  std::vector<RowMove> moves;
  for (int layer = 0; layer < num_layers(); ++layer) {
    const std::vector<int32_t>& before = layers_[layer].owners;
    ENODIA_CHECK_EQ(owners[layer].size(), before.size(), "owners of other experts");
    for (int32_t expert = 0; expert < std::ssize(before); ++expert) {
      for (int stripe = 0; stripe < shape_.stripes; ++stripe) {
        const int32_t from = owner_of_stripe(before[expert], stripe, shape_.stripes);
        const int32_t to = owner_of_stripe(owners[layer][expert], stripe, shape_.stripes);
        if (to != from) {
          moves.push_back({layer, expert, stripe, from, to});
          --more.at(from);
          ++more.at(to);
        }
      }
    }
  }
  for (int rank = 0; rank < mesh_.world_size(); ++rank) {
    ENODIA_CHECK_EQ(more[rank], 0, "rank ", rank, " would own more or fewer experts than before");
  }
  return moves;
}

/// Rows are sent from where they are and received beside the table, since where they go another may
/// still be leaving.
void ExpertStore::move_column(const std::vector<RowMove>& moves,
                              const std::vector<int64_t>& new_rows,
                              const std::string& column) {
  ChunkPlaces places;
  for (const RowMove& move : moves) {
    places.owners.push_back(move.from);
    places.holders.push_back({move.to});
    places.elements.push_back(shape_.stripe(move.stripe).count);
  }
  const int64_t elements = own_part().count;
  const at::Tensor arrived =
      at::empty({std::ssize(new_rows), elements}, owned_->column(column).options());
  std::map<int32_t, int64_t> row_of;  // of `arrived`, by number of the move
  for (int32_t number = 0; number < std::ssize(moves); ++number) {
    if (moves[number].to == mesh_.rank()) {
      row_of.emplace(number, std::ssize(row_of));
    }
  }
  sparse_all_gather(
      mesh_.replicas(),
      direct_schedule(places),
      [&](int32_t number) {
        const RowMove& move = moves[number];
        return view(part(owned_home(move.layer, move.expert), column));
      },
      [&](int32_t number) { return view(arrived[row_of.at(number)]); },
      mesh_.device().queue)
      .wait(mesh_.device().queue);
  for (int64_t row = 0; row < std::ssize(new_rows); ++row) {
    owned_->view(column, {new_rows[row], elements}).copy_(arrived[row]);
  }
}

MovedExperts ExpertStore::move_owners(const ExpertOwners& owners) {
  ENODIA_CHECK(can_move(), "experts with several homes have owners that stay");
  ENODIA_CHECK_EQ(leases_out_, 0, "owners must not change while a lease is out");
  ENODIA_CHECK(materialized_.empty() && going_home_.empty(),
               "owners must not change while replicas or their gradients are out");
  const std::vector<RowMove> moves = list_moves(owners);
  // The i-th row that comes takes the place of the i-th that leaves.
  std::vector<int64_t> places;
  for (const RowMove& move : moves) {
    if (move.from == mesh_.rank()) {
      places.push_back(owned_home(move.layer, move.expert).offset);
    }
  }
  MovedExperts moved{count_moved(this->owners(), owners), 0};
  if (moved.experts == 0) {
    return {};
  }
  int64_t elements = 0;
  for (const RowMove& move : moves) {
    elements += shape_.stripe(move.stripe).count;
  }
  for (const std::string& column : owned_->names_except(MemoryKind::kGradients)) {
    move_column(moves, places, column);
    moved.bytes += elements * static_cast<int64_t>(owned_->column(column).element_size());
  }
  at::Tensor(owned_->column("grad")).zero_();
  settle(moves, places);
  for (int layer = 0; layer < num_layers(); ++layer) {
    layers_[layer] = owned_by(owners[layer], mesh_.world_size());
  }
  owners_have_moved_ = true;
  if (reserved_) {
    reserve_slots(reserved_->options, reserved_->micro_batches, reserved_->kept_layers);
  }
  return moved;
}

/// The rows that have come are at home here, those that have left are not.
void ExpertStore::settle(const std::vector<RowMove>& moves, const std::vector<int64_t>& places) {
  auto place = places.begin();
  for (const RowMove& move : moves) {
    if (move.from == mesh_.rank()) {
      homes_[move.layer].erase(move.expert);
    }
    if (move.to == mesh_.rank()) {
      homes_[move.layer][move.expert] = {*place++, true};
    }
  }
  std::vector<LogicalParameter> parameters;
  for (int layer = 0; layer < num_layers(); ++layer) {
    for (const auto& [expert, home] : homes_[layer]) {
      for (LogicalParameter& parameter : logical_parameters(layer, expert, home.offset)) {
        parameters.push_back(std::move(parameter));
      }
    }
  }
  registry_.replace_owned(*owned_, std::move(parameters));
}

}  // namespace enodia

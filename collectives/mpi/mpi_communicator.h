#pragma once

#include <memory>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/mpi/mpi_operation.h"

namespace enodia {

/// The id of the node that this process lives on: the lowest rank of `comm` there. Collective.
int node_of_this_process(MPI_Comm comm);

/// Host memory only. Progress is made inside calls: a Work moves while somebody waits for one or
/// asks whether it is done. When counts or dtypes of a message differ, or sender and receiver are
/// not in the same exchange (one of them has left one out), the receiver throws CommError; the
/// sender may be done already.
class MpiCommunicator : public Communicator {
 public:
  /// Collective over the link's communicator. `node` is the id of this rank's node.
  MpiCommunicator(std::shared_ptr<MpiLink> link, int node);

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  std::span<const int> nodes() const override { return nodes_; }
  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override;
  Work broadcast(Buffer inout, int root, const Queue& after) override;
  void barrier() override;
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  void check_usable() const;
  int64_t next_number(std::span<const Message> sends, std::span<const Message> receives);

  std::shared_ptr<MpiLink> link_;
  int rank_ = 0;
  int world_size_ = 1;
  std::vector<int> nodes_;
  int64_t exchanges_ = 0;  // numbers them, from 1
};

}  // namespace enodia

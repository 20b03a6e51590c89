#include "collectives/mpi/mpi_communicator.h"

#include <utility>

#include "collectives/backend.h"
#include "common/check.h"
#include "common/error.h"

namespace enodia {

int node_of_this_process(MPI_Comm comm) {
  int leader = 0;
  ENODIA_MPI(MPI_Comm_rank(comm, &leader));
  MPI_Comm node = MPI_COMM_NULL;
  ENODIA_MPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  ENODIA_MPI(MPI_Bcast(&leader, 1, MPI_INT, 0, node));
  ENODIA_MPI(MPI_Comm_free(&node));
  return leader;
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<MpiLink> link, int node) : link_(std::move(link)) {
  ENODIA_MPI(MPI_Comm_rank(link_->comm(), &rank_));
  ENODIA_MPI(MPI_Comm_size(link_->comm(), &world_size_));
  nodes_.resize(static_cast<size_t>(world_size_));
  ENODIA_MPI(MPI_Allgather(&node, 1, MPI_INT, nodes_.data(), 1, MPI_INT, link_->comm()));
  nodes_ = dense_ids(nodes_);
}

void MpiCommunicator::check_usable() const {
  if (!link_->failure().empty()) {
    throw CommError("the communicator has failed before: " + link_->failure());
  }
}

/// The number of an exchange: the same on all ranks as long as none leaves one out.
int64_t MpiCommunicator::next_number(std::span<const Message> sends,
                                     std::span<const Message> receives) {
  const std::span<const Message> any = sends.empty() ? receives : sends;
  return any.empty() || any.front().part == 0 ? ++exchanges_ : exchanges_;
}

Work MpiCommunicator::exchange(std::span<const Message> sends,
                               std::span<const Message> receives,
                               const Queue& after) {
  check_usable();
  check_messages(sends, receives, world_size_);
  synchronize(after);
  copy_own_messages(sends, receives, rank_, after);
  auto operation = std::make_unique<MpiOperation>(link_, next_number(sends, receives));
  for (const Message& message : receives) {
    if (message.peer != rank_) {
      operation->receive(message);
    }
  }
  for (const Message& message : sends) {
    if (message.peer != rank_) {
      operation->send(message);
    }
  }
  return Work(std::move(operation), buffers_of(sends, receives));
}

Work MpiCommunicator::broadcast(Buffer inout, int root, const Queue& after) {
  check_usable();
  const Message message{root, inout};
  check_messages({&message, 1}, {}, world_size_);
  synchronize(after);
  auto operation = std::make_unique<MpiOperation>(link_);
  if (world_size_ > 1) {
    operation->broadcast(inout, root);
  }
  return Work(std::move(operation), {std::move(inout)});
}

void MpiCommunicator::barrier() {
  check_usable();
  MpiOperation operation(link_);
  operation.barrier();
  operation.wait(Queue());
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) {
  check_usable();
  ENODIA_CHECK(color >= 0, "a color is not negative, but ", color, " was given");
  MPI_Comm comm = MPI_COMM_NULL;
  ENODIA_MPI(MPI_Comm_split(link_->comm(), color, key, &comm));
  return std::make_unique<MpiCommunicator>(std::make_shared<MpiLink>(comm, link_->chunk_bytes()),
                                           nodes_[static_cast<size_t>(rank_)]);
}

}  // namespace enodia

#include "collectives/loopback/loopback.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include "collectives/backend.h"
#include "collectives/collectives.h"
#include "collectives/loopback/hub.h"
#include "common/check.h"

namespace enodia {
namespace {

class LoopbackPending : public PendingOperation {
 public:
  LoopbackPending(std::shared_ptr<LoopbackHub> hub, std::shared_ptr<LoopbackOperation> operation)
      : hub_(std::move(hub)),
        operation_(std::move(operation)) {}
  void wait(const Queue& queue) override { hub_->wait(*operation_, queue); }
  bool done() override { return hub_->done(*operation_); }

 private:
  std::shared_ptr<LoopbackHub> hub_;
  std::shared_ptr<LoopbackOperation> operation_;
};

/// Whether any message has elements in the memory of a device (or of the host).
bool is_any_on(bool device, std::span<const Message> sends, std::span<const Message> receives) {
  const auto is_there = [&](const Message& message) {
    return message.buffer.count > 0 && (message.buffer.device >= 0) == device;
  };
  return std::any_of(sends.begin(), sends.end(), is_there) ||
         std::any_of(receives.begin(), receives.end(), is_there);
}

void check_queue(const Queue& after) {
  ENODIA_CHECK(
      !is_host(after),
      "a buffer on a device was given to the loopback after the host's queue, which cannot "
      "copy it; give a queue of the device");
}

class LoopbackCommunicator : public Communicator {
 public:
  /// `members` are the global ranks of the group, `nodes` the nodes they live on.
  LoopbackCommunicator(std::shared_ptr<LoopbackHub> hub,
                       int64_t group_id,
                       int rank,
                       std::vector<int> members,
                       std::span<const int> nodes)
      : hub_(std::move(hub)),
        group_(hub_->group(group_id, members)),
        rank_(rank),
        members_(std::move(members)),
        nodes_(dense_ids(nodes)) {}

  int rank() const override { return rank_; }
  int world_size() const override { return static_cast<int>(members_.size()); }
  std::span<const int> nodes() const override { return nodes_; }
  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override;
  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override;
  Work broadcast(Buffer inout, int root, const Queue& after) override;
  void barrier() override;
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  std::shared_ptr<LoopbackHub> hub_;
  LoopbackHub::Group& group_;
  int rank_;
  std::vector<int> members_;
  std::vector<int> nodes_;
};

Work LoopbackCommunicator::exchange(std::span<const Message> sends,
                                    std::span<const Message> receives,
                                    const Queue& after) {
  check_messages(sends, receives, world_size());
  QueueEvent own;
  if (is_any_on(/*device=*/true, sends, receives)) {
    check_queue(after);
    if (is_any_on(/*device=*/false, sends, receives)) {
      synchronize(after);  // the host copies these
    }
    const auto pairs = own_messages(sends, receives, rank_);
    for (const auto& [from, to] : pairs) {
      after.copy(to.data, from.data, static_cast<size_t>(from.bytes()));
    }
    own = pairs.empty() ? QueueEvent() : QueueEvent(after);
  } else {
    synchronize(after);
    copy_own_messages(sends, receives, rank_, after);
  }
  auto operation = hub_->post(group_, rank_, sends, receives, after, own);
  return Work(std::make_unique<LoopbackPending>(hub_, std::move(operation)),
              buffers_of(sends, receives));
}

Work LoopbackCommunicator::all_reduce(Buffer inout, ReduceOp op, const Queue& after) {
  if (inout.device >= 0 && inout.count > 0) {
    check_queue(after);
  } else {
    inout.device = -1;
  }
  return Communicator::all_reduce(std::move(inout), op, after);
}

Work LoopbackCommunicator::broadcast(Buffer inout, int root, const Queue& after) {
  ENODIA_CHECK(root >= 0 && root < world_size(), "root ", root, " of a world of ", world_size());
  if (rank_ != root) {
    return exchange({}, std::vector<Message>{{root, std::move(inout)}}, after);
  }
  std::vector<Message> sends;
  for (int peer = 0; peer < world_size(); ++peer) {
    if (peer != root) {
      sends.push_back({peer, inout});
    }
  }
  return exchange(sends, {}, after);
}

void LoopbackCommunicator::barrier() {
  std::vector<Message> empty_messages;
  for (int peer = 0; peer < world_size(); ++peer) {
    empty_messages.push_back({peer, Buffer()});
  }
  exchange(empty_messages, empty_messages, Queue()).wait();
}

std::unique_ptr<Communicator> LoopbackCommunicator::split(int color, int key) {
  ENODIA_CHECK(color >= 0, "a color is not negative, but ", color, " was given");
  const std::vector<int32_t> mine{color, key};
  std::vector<int32_t> all(2 * members_.size());
  all_gather(*this, view(std::span(mine)), view(std::span(all))).wait();
  // The group's id need only be agreed and new: rank 0 reserves as many as there are ranks.
  int64_t first_id = rank_ == 0 ? hub_->reserve_groups(world_size()) : 0;
  broadcast(view(std::span<int64_t>(&first_id, 1)), 0, Queue()).wait();

  std::vector<std::tuple<int, int>> order;  // (key, rank) of the ranks with this color
  int first_of_color = -1;
  for (int peer = 0; peer < world_size(); ++peer) {
    if (all[2 * peer] == color) {
      order.emplace_back(all[2 * peer + 1], peer);
      first_of_color = first_of_color < 0 ? peer : first_of_color;
    }
  }
  std::sort(order.begin(), order.end());
  std::vector<int> members;
  std::vector<int> nodes;
  int new_rank = 0;
  for (const auto& [peer_key, peer] : order) {
    new_rank = peer == rank_ ? static_cast<int>(members.size()) : new_rank;
    members.push_back(members_[peer]);
    nodes.push_back(nodes_[peer]);
  }
  return std::make_unique<LoopbackCommunicator>(
      hub_, first_id + first_of_color, new_rank, std::move(members), nodes);
}

std::vector<int> all_ranks(int world_size) {
  std::vector<int> ranks(world_size);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

/// What a rank's body threw, if anything.
struct RankEnd {
  std::exception_ptr exception;
  bool is_echo = false;
};

RankEnd run_rank(const std::shared_ptr<LoopbackHub>& hub,
                 int rank,
                 const std::function<void(Communicator&)>& body,
                 const std::vector<int>& nodes) {
  const auto failed = [&](const std::string& what) {
    hub->poison("rank " + std::to_string(rank) + " failed: " + what);
    return RankEnd{std::current_exception(), false};
  };
  try {
    LoopbackCommunicator communicator(
        hub, 0, rank, all_ranks(static_cast<int>(nodes.size())), nodes);
    body(communicator);
    hub->leave(rank);
    return {};
  } catch (const LoopbackEcho&) {
    return {std::current_exception(), true};
  } catch (const std::exception& error) {
    return failed(error.what());
  } catch (...) {
    return failed("an exception of unknown type");
  }
}

}  // namespace

void run_loopback(int world_size,
                  const std::function<void(Communicator&)>& body,
                  std::vector<int> nodes) {
  ENODIA_CHECK(world_size >= 1, "a loopback world of ", world_size, " ranks");
  if (nodes.empty()) {
    nodes.assign(world_size, 0);
  }
  ENODIA_CHECK_EQ(nodes.size(), static_cast<size_t>(world_size), "one node for each rank");
  const auto hub = std::make_shared<LoopbackHub>(world_size);
  std::vector<RankEnd> ends(world_size);
  {
    std::vector<std::jthread> threads;
    try {
      for (int rank = 0; rank < world_size; ++rank) {
        threads.emplace_back([&, rank] { ends[rank] = run_rank(hub, rank, body, nodes); });
      }
    } catch (...) {
      hub->poison("not all ranks could be started");
      throw;
    }
  }
  // A cause before its echoes; an echo alone speaks of ranks that ended too early.
  std::stable_partition(ends.begin(), ends.end(), [](const RankEnd& end) { return !end.is_echo; });
  for (const RankEnd& end : ends) {
    if (end.exception != nullptr) {
      std::rethrow_exception(end.exception);
    }
  }
}

std::unique_ptr<Communicator> make_single_rank_communicator() {
  const std::vector<int> nodes{0};
  return std::make_unique<LoopbackCommunicator>(
      std::make_shared<LoopbackHub>(1), 0, 0, all_ranks(1), nodes);
}

}  // namespace enodia

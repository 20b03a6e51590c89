#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "collectives/nccl/nccl_table.h"
#include "tests/collectives/nccl_double/fake_cuda.h"

namespace enodia {

/// One side of a message that waits for the other.
struct FakePost {
  void* memory;
  size_t bytes;
  std::string what;
  bool done = false;
};

/// A collective operation: what the ranks that have come so far have brought.
struct FakeMeeting {
  struct Contribution {
    const std::byte* from;
    std::byte* to;
  };
  std::map<int, Contribution> ranks;
  bool done = false;
};

/// The ranks that share a communicator.
struct FakeGroup {
  int id;
  std::vector<int> devices;  // rank -> device
  int joined = 0;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<FakePost>>> sends;  // from, to
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<FakePost>>> receives;
  std::map<int64_t, FakeMeeting> meetings;
  struct Split {
    std::map<int, std::pair<int, int>> wishes;  // rank -> color, key
    std::map<int, std::shared_ptr<FakeGroup>> parts;
    bool done = false;
  };
  std::map<int64_t, Split> splits;
};

struct FakeCommunicator {
  std::shared_ptr<FakeGroup> group;
  int rank;
  int64_t collectives = 0;
  int64_t splits = 0;
  int last_actor = -1;  // stream of the last operation, and its number there
  uint64_t last_number = 0;
  bool aborted = false;
  ncclResult_t error = ncclSuccess;
};

/// A call to NCCL inside a group.
struct FakeCall {
  enum class Kind { kSend, kReceive, kAllReduce, kBroadcast } kind;
  const void* from;
  void* to;
  size_t count;
  ncclDataType_t type;
  int peer;  // or root
  ncclRedOp_t op;
  FakeCommunicator* communicator;
  FakeStream* stream;
};

/// NCCL on the memory of a FakeCuda; ranks are threads, each with a device of its own. Compares the
/// order of launches: for every two devices, the operations that involve both must be launched in
/// the same order, with the same counts and types, by both.
class FakeNccl {
 public:
  explicit FakeNccl(FakeCuda& cuda) : cuda_(cuda) {}

  ncclUniqueId make_id();
  FakeCommunicator* join(const ncclUniqueId& id, int ranks, int rank);
  FakeCommunicator* split(FakeCommunicator* communicator, int color, int key);
  /// Frees it; `aborting` allows operations to be under way, which then end without a result.
  void end(FakeCommunicator* communicator, bool aborting);
  ncclResult_t error_of(FakeCommunicator* communicator);
  void fail_all(ncclResult_t error);
  /// The calls of one group, or one call alone.
  void launch(const std::vector<FakeCall>& calls);
  size_t communicators();

 private:
  void compare_order(int mine, int other, const std::string& signature);
  void compare_orders(const FakeCommunicator& communicator, const std::vector<FakeCall>& calls);
  void check_idle(const FakeCommunicator& communicator, const std::string& what);
  bool wait(std::unique_lock<std::mutex>& lock,
            const FakeCommunicator& communicator,
            const std::function<bool()>& over,
            const std::string& what);
  void run_messages(std::unique_lock<std::mutex>& lock,
                    FakeCommunicator& communicator,
                    const std::vector<FakeCall>& calls);
  void run_collective(std::unique_lock<std::mutex>& lock,
                      FakeCommunicator& communicator,
                      const FakeCall& call,
                      int64_t number);
  void match(FakeGroup& group, int from, int to);

  FakeCuda& cuda_;
  int groups_ = 0;
  uint32_t ids_ = 0;
  std::map<uint32_t, std::shared_ptr<FakeGroup>> starting_;
  std::map<FakeCommunicator*, std::unique_ptr<FakeCommunicator>> communicators_;
  std::vector<std::unique_ptr<FakeCommunicator>> ended_;
  std::map<std::pair<int, int>, std::vector<std::string>> launches_;  // by first, involving second
};

}  // namespace enodia

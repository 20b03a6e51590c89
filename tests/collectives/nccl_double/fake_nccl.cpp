#include "tests/collectives/nccl_double/fake_nccl.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>

#include "collectives/reduce.h"
#include "common/check.h"

namespace enodia {
namespace {

DType to_dtype(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return DType::kUInt8;
    case ncclInt32:
      return DType::kInt32;
    case ncclInt64:
      return DType::kInt64;
    case ncclFloat32:
      return DType::kFloat32;
    case ncclFloat64:
      return DType::kFloat64;
    case ncclBfloat16:
      return DType::kBFloat16;
    default:
      throw UsageError("a type that Enodia does not have");
  }
}

size_t bytes_of(const FakeCall& call) {
  return call.count * size_of(to_dtype(call.type));
}

bool is_message(const FakeCall& call) {
  return call.kind == FakeCall::Kind::kSend || call.kind == FakeCall::Kind::kReceive;
}

std::string describe(const FakeCall& call) {
  return detail::concat(call.count, " ", name_of(to_dtype(call.type)));
}

std::string name_of(const FakeCall& call) {
  switch (call.kind) {
    case FakeCall::Kind::kSend:
      return "a send";
    case FakeCall::Kind::kReceive:
      return "a receive";
    case FakeCall::Kind::kAllReduce:
      return detail::concat("an all_reduce (op ", call.op, ")");
    case FakeCall::Kind::kBroadcast:
      return detail::concat("a broadcast from rank ", call.peer);
  }
  return "";
}

/// As NCCL: of a number and a NaN, the number.
template <typename T>
void reduce_losing_nan(const std::vector<const std::byte*>& inputs,
                       T* out,
                       size_t count,
                       bool min) {
  for (size_t i = 0; i < count; ++i) {
    T result = reinterpret_cast<const T*>(inputs[0])[i];
    for (const std::byte* input : inputs) {
      const T value = reinterpret_cast<const T*>(input)[i];
      result = min ? std::fmin(result, value) : std::fmax(result, value);
    }
    out[i] = result;
  }
}

void reduce(const std::vector<const std::byte*>& inputs, std::byte* out, const FakeCall& call) {
  const DType dtype = to_dtype(call.type);
  const bool min = call.op == ncclMin;
  if (call.op != ncclSum && dtype == DType::kFloat32) {
    reduce_losing_nan(inputs, reinterpret_cast<float*>(out), call.count, min);
  } else if (call.op != ncclSum && dtype == DType::kFloat64) {
    reduce_losing_nan(inputs, reinterpret_cast<double*>(out), call.count, min);
  } else {
    reduce_in_order(inputs,
                    out,
                    static_cast<int64_t>(call.count),
                    dtype,
                    call.op == ncclSum ? ReduceOp::kSum
                    : min              ? ReduceOp::kMin
                                       : ReduceOp::kMax);
  }
}

}  // namespace

// ---- communicators ----

ncclUniqueId FakeNccl::make_id() {
  const std::lock_guard lock(cuda_.mutex);
  ncclUniqueId id{};
  ++ids_;
  std::memcpy(id.internal, &ids_, sizeof(ids_));
  return id;
}

FakeCommunicator* FakeNccl::join(const ncclUniqueId& id, int ranks, int rank) {
  std::unique_lock lock(cuda_.mutex);
  uint32_t number = 0;
  std::memcpy(&number, id.internal, sizeof(number));
  std::shared_ptr<FakeGroup>& starting = starting_[number];
  if (starting == nullptr) {
    starting = std::make_shared<FakeGroup>();
    starting->id = groups_++;
    starting->devices.resize(static_cast<size_t>(ranks));
  }
  const std::shared_ptr<FakeGroup> group = starting;
  group->devices[static_cast<size_t>(rank)] = fake_current_device();
  ++group->joined;
  cuda_.changed.notify_all();
  auto owner = std::make_unique<FakeCommunicator>();
  FakeCommunicator* communicator = owner.get();
  communicator->group = group;
  communicator->rank = rank;
  communicators_[communicator] = std::move(owner);
  wait(
      lock, *communicator, [&] { return group->joined == ranks; }, "ncclCommInitRankConfig");
  return communicator;
}

FakeCommunicator* FakeNccl::split(FakeCommunicator* communicator, int color, int key) {
  std::unique_lock lock(cuda_.mutex);
  check_idle(*communicator, "ncclCommSplit");
  FakeGroup& group = *communicator->group;
  FakeGroup::Split& split = group.splits[communicator->splits++];
  split.wishes[communicator->rank] = {color, key};
  if (split.wishes.size() == group.devices.size()) {
    std::vector<std::tuple<int, int, int>> order;  // color, key, rank
    for (const auto& [rank, wish] : split.wishes) {
      order.emplace_back(wish.first, wish.second, rank);
    }
    std::sort(order.begin(), order.end());
    for (const auto& [part_color, part_key, rank] : order) {
      std::shared_ptr<FakeGroup>& part = split.parts[part_color];
      if (part == nullptr) {
        part = std::make_shared<FakeGroup>();
        part->id = groups_++;
      }
      part->devices.push_back(group.devices[static_cast<size_t>(rank)]);
    }
    split.done = true;
    cuda_.changed.notify_all();
  }
  wait(
      lock, *communicator, [&] { return split.done; }, "ncclCommSplit");
  auto part = std::make_unique<FakeCommunicator>();
  FakeCommunicator* result = part.get();
  part->group = split.parts[color];
  const auto& devices = part->group->devices;
  part->rank = static_cast<int>(std::find(devices.begin(), devices.end(), fake_current_device()) -
                                devices.begin());
  communicators_[result] = std::move(part);
  return result;
}

void FakeNccl::check_idle(const FakeCommunicator& communicator, const std::string& what) {
  if (communicator.last_actor >= 0 &&
      !cuda_.host_has_seen(communicator.last_actor, communicator.last_number)) {
    cuda_.error(what + " was called while an operation may be under way");
  }
}

void FakeNccl::end(FakeCommunicator* communicator, bool aborting) {
  const std::lock_guard lock(cuda_.mutex);
  const auto found = communicators_.find(communicator);
  if (found == communicators_.end()) {
    return cuda_.error("a communicator was destroyed twice");
  }
  if (aborting) {
    communicator->aborted = true;
    cuda_.changed.notify_all();
  } else {
    check_idle(*communicator, "ncclCommDestroy");
  }
  ended_.push_back(std::move(found->second));  // operations may still look at it
  communicators_.erase(found);
}

ncclResult_t FakeNccl::error_of(FakeCommunicator* communicator) {
  const std::lock_guard lock(cuda_.mutex);
  return communicator->error;
}

void FakeNccl::fail_all(ncclResult_t error) {
  const std::lock_guard lock(cuda_.mutex);
  for (const auto& [communicator, owner] : communicators_) {
    communicator->error = error;
  }
}

size_t FakeNccl::communicators() {
  const std::lock_guard lock(cuda_.mutex);
  return communicators_.size();
}

// ---- launching ----

void FakeNccl::launch(const std::vector<FakeCall>& calls) {
  const std::lock_guard lock(cuda_.mutex);
  const FakeCall& first = calls.front();
  FakeCommunicator& communicator = *first.communicator;
  FakeStream* stream = first.stream;
  if (!communicators_.contains(&communicator)) {
    return cuda_.error("an operation on a communicator that was destroyed");
  }
  if (stream->device != communicator.group->devices[static_cast<size_t>(communicator.rank)] ||
      stream->device != fake_current_device()) {
    cuda_.error("an operation on a stream of another device than the communicator's");
  }
  FakeOperation operation;
  for (const FakeCall& call : calls) {
    if (call.communicator != &communicator || call.stream != stream ||
        is_message(call) != is_message(first) || (!is_message(call) && calls.size() > 1)) {
      return cuda_.error("a group mixes communicators, streams or kinds of operation");
    }
    const bool reads = call.kind != FakeCall::Kind::kReceive &&
                       (call.kind != FakeCall::Kind::kBroadcast || call.peer == communicator.rank);
    const bool writes = call.kind != FakeCall::Kind::kSend &&
                        (call.kind != FakeCall::Kind::kBroadcast || call.peer != communicator.rank);
    const void* written = call.to;
    for (const void* memory : {reads ? call.from : nullptr, writes ? written : nullptr}) {
      if (memory != nullptr && !cuda_.is_on_device_locked(memory)) {
        return cuda_.error(name_of(call) + " was given memory of the host");
      }
    }
    if (reads) {
      operation.reads.push_back({call.from, bytes_of(call)});
    }
    if (writes) {
      operation.writes.push_back({call.to, bytes_of(call)});
    }
  }
  operation.what = name_of(first);
  compare_orders(communicator, calls);
  if (is_message(first)) {
    operation.run = [this, &communicator, calls](auto& held) {
      run_messages(held, communicator, calls);
    };
  } else {
    operation.run = [this, &communicator, first, number = communicator.collectives++](auto& held) {
      run_collective(held, communicator, first, number);
    };
  }
  cuda_.queue(stream, std::move(operation));
  std::tie(communicator.last_actor, communicator.last_number) = cuda_.last_of(stream);
}

void FakeNccl::compare_orders(const FakeCommunicator& communicator,
                              const std::vector<FakeCall>& calls) {
  const std::vector<int>& devices = communicator.group->devices;
  const int mine = devices[static_cast<size_t>(communicator.rank)];
  const std::string prefix = detail::concat("communicator ", communicator.group->id, ": ");
  if (!is_message(calls.front())) {
    for (const int other : devices) {
      compare_order(mine, other, prefix + name_of(calls.front()) + " " + describe(calls.front()));
    }
    return;
  }
  std::map<int, std::map<std::pair<int, int>, std::string>> messages;  // other -> from, to -> list
  for (const FakeCall& call : calls) {
    const int other = devices[static_cast<size_t>(call.peer)];
    const bool sends = call.kind == FakeCall::Kind::kSend;
    messages[other][sends ? std::pair(mine, other) : std::pair(other, mine)] +=
        " " + describe(call);
  }
  for (const auto& [other, directions] : messages) {
    std::string signature = prefix + "messages";
    for (const auto& [direction, list] : directions) {
      signature += detail::concat("; ", direction.first, " to ", direction.second, ":", list);
    }
    compare_order(mine, other, signature);
  }
}

void FakeNccl::compare_order(int mine, int other, const std::string& signature) {
  std::vector<std::string>& launched = launches_[{mine, other}];
  const std::vector<std::string>& theirs = launches_[{other, mine}];
  launched.push_back(signature);
  const size_t position = launched.size() - 1;
  if (position < theirs.size() && theirs[position] != signature) {
    cuda_.error(detail::concat("device ",
                               mine,
                               " launches [",
                               signature,
                               "] where device ",
                               other,
                               " has launched [",
                               theirs[position],
                               "]"));
  }
}

// ---- running, on the threads of the streams ----

bool FakeNccl::wait(std::unique_lock<std::mutex>& lock,
                    const FakeCommunicator& communicator,
                    const std::function<bool()>& over,
                    const std::string& what) {
  const bool in_time = cuda_.changed.wait_for(
      lock, cuda_.options().patience, [&] { return communicator.aborted || over(); });
  if (!in_time) {
    cuda_.error(what + " waits for a rank that does not come");
  }
  return in_time && !communicator.aborted;
}

void FakeNccl::run_messages(std::unique_lock<std::mutex>& lock,
                            FakeCommunicator& communicator,
                            const std::vector<FakeCall>& calls) {
  FakeGroup& group = *communicator.group;
  std::vector<std::shared_ptr<FakePost>> posts;
  for (const FakeCall& call : calls) {
    const bool sends = call.kind == FakeCall::Kind::kSend;
    void* memory = sends ? const_cast<void*>(call.from) : call.to;
    posts.push_back(std::make_shared<FakePost>(FakePost{memory, bytes_of(call), describe(call)}));
    if (sends) {
      group.sends[{communicator.rank, call.peer}].push_back(posts.back());
      match(group, communicator.rank, call.peer);
    } else {
      group.receives[{call.peer, communicator.rank}].push_back(posts.back());
      match(group, call.peer, communicator.rank);
    }
  }
  wait(
      lock,
      communicator,
      [&] {
        return std::all_of(posts.begin(), posts.end(), [](const auto& post) { return post->done; });
      },
      "a group of messages");
}

void FakeNccl::match(FakeGroup& group, int from, int to) {
  auto& sends = group.sends[{from, to}];
  auto& receives = group.receives[{from, to}];
  while (!sends.empty() && !receives.empty()) {
    FakePost& send = *sends.front();
    FakePost& receive = *receives.front();
    if (send.what != receive.what) {
      cuda_.error("a send of " + send.what + " meets a receive of " + receive.what);
    }
    std::memcpy(receive.memory, send.memory, std::min(send.bytes, receive.bytes));
    send.done = receive.done = true;
    sends.pop_front();
    receives.pop_front();
    cuda_.changed.notify_all();
  }
}

// The last to come computes for all.
void FakeNccl::run_collective(std::unique_lock<std::mutex>& lock,
                              FakeCommunicator& communicator,
                              const FakeCall& call,
                              int64_t number) {
  FakeMeeting& meeting = communicator.group->meetings[number];
  meeting.ranks[communicator.rank] = {static_cast<const std::byte*>(call.from),
                                      static_cast<std::byte*>(call.to)};
  if (meeting.ranks.size() == communicator.group->devices.size()) {
    std::vector<std::byte> result(bytes_of(call));
    if (call.kind == FakeCall::Kind::kBroadcast) {
      std::memcpy(result.data(), meeting.ranks[call.peer].from, result.size());
    } else {
      std::vector<const std::byte*> inputs;
      for (const auto& [rank, contribution] : meeting.ranks) {
        inputs.push_back(contribution.from);
      }
      reduce(inputs, result.data(), call);
    }
    for (const auto& [rank, contribution] : meeting.ranks) {
      if (call.kind != FakeCall::Kind::kBroadcast || rank != call.peer) {
        std::memcpy(contribution.to, result.data(), result.size());
      }
    }
    meeting.done = true;
    cuda_.changed.notify_all();
  }
  wait(
      lock, communicator, [&] { return meeting.done; }, name_of(call));
}

}  // namespace enodia

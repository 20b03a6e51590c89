#include "collectives/decorators/checked.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "collectives/backend.h"
#include "collectives/collectives.h"
#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace {

enum class Kind : int64_t { kExchange, kAllReduce, kBroadcast, kBarrier, kSplit };

struct Part {
  int64_t peer;
  int64_t count;
  int64_t dtype;
};

/// One rank's call, as the others are told of it.
struct Call {
  Kind kind;
  int64_t detail = 0;  ///< the reduction or the root
  int64_t count = 0;
  int64_t dtype = 0;
  std::vector<Part> sends = {};
  std::vector<Part> receives = {};

  bool same_operation(const Call& other) const {
    return kind == other.kind && detail == other.detail && count == other.count &&
           dtype == other.dtype;
  }
};

Call call_on(Kind kind, const Buffer& buffer, int64_t detail) {
  return Call{kind, detail, buffer.count, static_cast<int64_t>(buffer.dtype)};
}

std::vector<Part> parts_of(std::span<const Message> messages) {
  std::vector<Part> parts;
  for (const auto& [peer, buffer, part] : messages) {
    parts.push_back({peer, buffer.count, static_cast<int64_t>(buffer.dtype)});
  }
  return parts;
}

std::string describe_part(const Part& part) {
  return detail::concat(part.count, " ", name_of(static_cast<DType>(part.dtype)));
}

std::string describe_call(const Call& call) {
  const std::string elements = describe_part({0, call.count, call.dtype});
  switch (call.kind) {
    case Kind::kExchange:
      return detail::concat(
          "exchange(", call.sends.size(), " sends, ", call.receives.size(), " receives)");
    case Kind::kAllReduce:
      return detail::concat(
          "all_reduce(", elements, ", ", name_of(static_cast<ReduceOp>(call.detail)), ")");
    case Kind::kBroadcast:
      return detail::concat("broadcast(", elements, ", root ", call.detail, ")");
    case Kind::kBarrier:
      return "barrier()";
    case Kind::kSplit:
      return "split()";
  }
  return "an unknown operation";
}

/// The call as 64-bit words in a string: four fixed ones, the number of sends, then all parts.
std::string encode(const Call& call) {
  std::vector<int64_t> words{static_cast<int64_t>(call.kind),
                             call.detail,
                             call.count,
                             call.dtype,
                             static_cast<int64_t>(call.sends.size())};
  for (const std::vector<Part>* parts : {&call.sends, &call.receives}) {
    for (const Part& part : *parts) {
      words.insert(words.end(), {part.peer, part.count, part.dtype});
    }
  }
  return std::string(reinterpret_cast<const char*>(words.data()), words.size() * sizeof(int64_t));
}

Call decode(const std::string& text) {
  std::vector<int64_t> words(text.size() / sizeof(int64_t));
  std::memcpy(words.data(), text.data(), text.size());
  Call call{static_cast<Kind>(words[0]), words[1], words[2], words[3]};
  const size_t first_receive = 5 + 3 * static_cast<size_t>(words[4]);
  for (size_t i = 5; i < words.size(); i += 3) {
    (i < first_receive ? call.sends : call.receives)
        .push_back({words[i], words[i + 1], words[i + 2]});
  }
  return call;
}

std::vector<std::vector<Part>> group_by_peer(const std::vector<Part>& parts, size_t world_size) {
  std::vector<std::vector<Part>> groups(world_size);
  for (const Part& part : parts) {
    groups[part.peer].push_back(part);
  }
  return groups;
}

/// A fault in the messages from one rank to another, or an empty text.
std::string find_mismatch(const std::vector<Part>& sent, const std::vector<Part>& expected) {
  if (sent.size() != expected.size()) {
    return detail::concat(sent.size(), " are sent but ", expected.size(), " expected");
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    if (sent[i].count != expected[i].count || sent[i].dtype != expected[i].dtype) {
      return detail::concat("number ",
                            i,
                            " is sent as ",
                            describe_part(sent[i]),
                            " but expected as ",
                            describe_part(expected[i]));
    }
  }
  return {};
}

void compare_messages(const std::vector<Call>& calls, int64_t sequence) {
  const size_t world_size = calls.size();
  std::vector<std::vector<std::vector<Part>>> receives;  // [receiver][sender]
  for (const Call& call : calls) {
    receives.push_back(group_by_peer(call.receives, world_size));
  }
  for (size_t sender = 0; sender < world_size; ++sender) {
    const auto sends = group_by_peer(calls[sender].sends, world_size);
    for (size_t receiver = 0; receiver < world_size; ++receiver) {
      const std::string fault = find_mismatch(sends[receiver], receives[receiver][sender]);
      if (!fault.empty()) {
        throw CommError(detail::concat("call ",
                                       sequence,
                                       ", exchange: of the messages from rank ",
                                       sender,
                                       " to rank ",
                                       receiver,
                                       ", ",
                                       fault,
                                       "; both ranks must name the same messages"));
      }
    }
  }
}

void compare_operations(const std::vector<Call>& calls, int64_t sequence) {
  for (size_t rank = 1; rank < calls.size(); ++rank) {
    if (!calls[rank].same_operation(calls[0])) {
      throw CommError(detail::concat("call ",
                                     sequence,
                                     " differs: rank 0 calls ",
                                     describe_call(calls[0]),
                                     " but rank ",
                                     rank,
                                     " calls ",
                                     describe_call(calls[rank]),
                                     "; all ranks must call the same operations in one order"));
    }
  }
}

void check_overlap(std::span<const Message> receives) {
  std::vector<std::pair<const std::byte*, int64_t>> stretches;
  for (const auto& [peer, buffer, part] : receives) {
    if (buffer.count > 0) {
      stretches.emplace_back(static_cast<const std::byte*>(buffer.data), buffer.bytes());
    }
  }
  std::sort(stretches.begin(), stretches.end());
  for (size_t i = 1; i < stretches.size(); ++i) {
    const auto& [before, bytes] = stretches[i - 1];
    ENODIA_CHECK(before + bytes <= stretches[i].first,
                 "two receives of one exchange overlap in memory: ",
                 bytes,
                 " bytes at ",
                 static_cast<const void*>(before),
                 " and the next at ",
                 static_cast<const void*>(stretches[i].first));
  }
}

class CheckedCommunicator : public Communicator {
 public:
  explicit CheckedCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override {
    check_messages(sends, receives, world_size());
    check_overlap(receives);
    agree(Call{Kind::kExchange, 0, 0, 0, parts_of(sends), parts_of(receives)});
    return inner_->exchange(sends, receives, after);
  }

  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override {
    check_one(rank(), inout);
    agree(call_on(Kind::kAllReduce, inout, static_cast<int64_t>(op)));
    return inner_->all_reduce(std::move(inout), op, after);
  }

  Work broadcast(Buffer inout, int root, const Queue& after) override {
    check_one(root, inout);
    agree(call_on(Kind::kBroadcast, inout, root));
    return inner_->broadcast(std::move(inout), root, after);
  }

  void barrier() override {
    agree(Call{Kind::kBarrier});
    inner_->barrier();
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    agree(Call{Kind::kSplit});
    return make_checked(inner_->split(color, key));
  }

 private:
  void check_one(int peer, const Buffer& buffer) const {
    const Message message{peer, buffer};
    check_messages({&message, 1}, {}, world_size());
  }

  /// All ranks describe their calls to all others and compare them.
  void agree(const Call& call) {
    ++sequence_;
    std::vector<Call> calls;
    for (const std::string& text : all_gather_text(*inner_, encode(call))) {
      calls.push_back(decode(text));
    }
    compare_operations(calls, sequence_);
    if (call.kind == Kind::kExchange) {
      compare_messages(calls, sequence_);
    }
  }

  std::unique_ptr<Communicator> inner_;
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> make_checked(std::unique_ptr<Communicator> inner) {
  return std::make_unique<CheckedCommunicator>(std::move(inner));
}

}  // namespace enodia

#include "collectives/decorators/faulty.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <type_traits>
#include <utility>

#include "common/dtype.h"

namespace enodia {
namespace {

using Bytes = std::vector<std::byte>;

std::byte* memory_of(const Buffer& buffer) {
  return static_cast<std::byte*>(buffer.data);
}

Bytes bytes_of(std::span<const Buffer> buffers) {
  Bytes bytes;
  for (const Buffer& buffer : buffers) {
    bytes.insert(bytes.end(), memory_of(buffer), memory_of(buffer) + buffer.bytes());
  }
  return bytes;
}

// Begins again where the bytes end.
void overwrite(std::span<const Buffer> buffers, const Bytes& bytes) {
  size_t next = 0;
  for (const Buffer& buffer : buffers) {
    for (int64_t i = 0; i < buffer.bytes() && !bytes.empty(); ++i, ++next) {
      memory_of(buffer)[i] = bytes[next % bytes.size()];
    }
  }
}

/// An element of bfloat16.
enum class BFloat16 : uint16_t {};
float value_of(BFloat16 element) {
  return float_from_bfloat16(static_cast<uint16_t>(element));
}

/// Calls `use` with the buffer's elements in their type.
template <typename Use>
void visit(const Buffer& buffer, const Use& use) {
  const auto elements = [&buffer]<typename T>(T* first) {
    return std::span<T>(first, static_cast<size_t>(buffer.count));
  };
  switch (buffer.dtype) {
    case DType::kUInt8:
      return use(elements(static_cast<uint8_t*>(buffer.data)));
    case DType::kInt32:
      return use(elements(static_cast<int32_t*>(buffer.data)));
    case DType::kInt64:
      return use(elements(static_cast<int64_t*>(buffer.data)));
    case DType::kFloat32:
      return use(elements(static_cast<float*>(buffer.data)));
    case DType::kFloat64:
      return use(elements(static_cast<double*>(buffer.data)));
    case DType::kBFloat16:
      return use(elements(static_cast<BFloat16*>(buffer.data)));
  }
}

template <typename T>
T doubled(T value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return BFloat16{bfloat16_from_float(2 * value_of(value))};
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(std::make_unsigned_t<T>(value) << 1);  // overflow may happen here
  } else {
    return 2 * value;
  }
}

void scale(std::span<const Buffer> buffers) {
  for (const Buffer& buffer : buffers) {
    visit(buffer, [](auto elements) {
      for (auto& element : elements) {
        element = doubled(element);
      }
    });
  }
}

// Halves, since whole messages may be addends of one sum, whose places do not matter.
void swap_places(std::span<const Buffer> buffers) {
  if (buffers.empty()) {
    return;
  }
  const Buffer& first = buffers.front();
  const Buffer& last = buffers.back();
  const int64_t half = std::min(first.count, last.count) / 2;
  const int64_t length = buffers.size() > 1 ? std::max<int64_t>(half, 1) : half;
  const Buffer one = first.slice(0, length);
  const Buffer other = last.slice(last.count - length, length);
  std::swap_ranges(
      memory_of(one), memory_of(one) + std::min(one.bytes(), other.bytes()), memory_of(other));
}

template <typename T>
bool equal_values(T a, T b) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return equal_values(value_of(a), value_of(b));
  } else if constexpr (std::is_floating_point_v<T>) {
    return a == b || (std::isnan(a) && std::isnan(b));
  } else {
    return a == b;
  }
}

/// By value: -0 is 0.
bool equal(const Buffer& buffer, const std::byte* before) {
  bool same = true;
  visit(buffer, [&](auto elements) {
    for (size_t i = 0; i < elements.size(); ++i) {
      auto old = elements[i];
      std::memcpy(&old, before + i * sizeof(old), sizeof(old));
      same = same && equal_values(old, elements[i]);
    }
  });
  return same;
}

/// What arrived last, for each kind and type of operation, and for each list of sizes.
class Arrivals {
 public:
  Bytes before(const CompletedOperation& operation) const {
    for (const auto& key : {key_of_sizes(operation), key_of_type(operation)}) {
      if (const auto found = last_.find(key); found != last_.end()) {
        return found->second;
      }
    }
    return {};
  }
  void add(const CompletedOperation& operation) {
    if (!operation.received.empty()) {
      const Bytes bytes = bytes_of(operation.received);
      last_[key_of_sizes(operation)] = bytes;
      last_[key_of_type(operation)] = bytes;
    }
  }

 private:
  using Key = std::vector<int64_t>;
  static Key key_of_type(const CompletedOperation& operation) {
    return {static_cast<int64_t>(operation.kind), static_cast<int64_t>(operation.dtype)};
  }
  static Key key_of_sizes(const CompletedOperation& operation) {
    Key key = key_of_type(operation);
    for (const Buffer& buffer : operation.received) {
      key.push_back(buffer.count);
    }
    return key;
  }
  std::map<Key, Bytes> last_;
};

/// What a communicator and its operations under way share.
struct Faults {
  Traffic traffic;
  Tamper tamper;
  int64_t begun = 0;
  Arrivals arrivals = {};

  CompletedOperation begin(OperationKind kind, DType dtype) {
    return {.traffic = traffic, .kind = kind, .index = begun++, .dtype = dtype};
  }
  void complete(CompletedOperation& operation) {
    operation.previous = arrivals.before(operation);
    arrivals.add(operation);
    tamper(operation);
  }
};

class FaultyOperation : public PendingOperation {
 public:
  FaultyOperation(std::shared_ptr<Faults> faults, CompletedOperation operation, Work inner)
      : faults_(std::move(faults)),
        operation_(std::move(operation)),
        inner_(std::move(inner)) {}
  void wait(const Queue& queue) override {
    inner_.wait(queue);
    faults_->complete(operation_);
  }
  bool done() override { return inner_.done(); }

 private:
  std::shared_ptr<Faults> faults_;
  CompletedOperation operation_;
  Work inner_;
};

class FaultyCommunicator : public Communicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> inner, Traffic traffic, Tamper tamper)
      : inner_(std::move(inner)),
        faults_(std::make_shared<Faults>(Faults{traffic, std::move(tamper)})) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override {
    const auto& some = receives.empty() ? sends : receives;
    const DType dtype = some.empty() ? DType::kUInt8 : some.front().buffer.dtype;
    CompletedOperation operation = faults_->begin(OperationKind::kExchange, dtype);
    for (const Message& message : receives) {
      if (message.peer != rank() && message.buffer.count > 0) {
        operation.received.push_back(message.buffer);
      }
    }
    return wrap(std::move(operation), inner_->exchange(sends, receives, after));
  }

  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override {
    CompletedOperation operation = faults_->begin(OperationKind::kAllReduce, inout.dtype);
    operation.contributed = bytes_of({&inout, 1});
    if (world_size() > 1 && inout.count > 0) {
      operation.received.push_back(inout);
    }
    return wrap(std::move(operation), inner_->all_reduce(std::move(inout), op, after));
  }

  Work broadcast(Buffer inout, int root, const Queue& after) override {
    CompletedOperation operation = faults_->begin(OperationKind::kBroadcast, inout.dtype);
    if (root != rank() && inout.count > 0) {
      operation.received.push_back(inout);
    }
    return wrap(std::move(operation), inner_->broadcast(std::move(inout), root, after));
  }

  void barrier() override {
    CompletedOperation operation = faults_->begin(OperationKind::kBarrier, DType::kUInt8);
    inner_->barrier();
    faults_->complete(operation);
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_faulty(inner_->split(color, key), faults_->traffic, faults_->tamper);
  }

 private:
  Work wrap(CompletedOperation operation, Work inner) {
    return Work(std::make_unique<FaultyOperation>(faults_, std::move(operation), std::move(inner)));
  }

  std::unique_ptr<Communicator> inner_;
  std::shared_ptr<Faults> faults_;
};

}  // namespace

std::string_view name_of(Corruption corruption) {
  constexpr std::array<std::string_view, kAllCorruptions.size()> kNames{
      "drop", "scale", "swap", "stale"};
  return kNames[static_cast<size_t>(corruption)];
}

std::unique_ptr<Communicator> make_faulty(std::unique_ptr<Communicator> inner,
                                          Traffic traffic,
                                          Tamper tamper) {
  return std::make_unique<FaultyCommunicator>(std::move(inner), traffic, std::move(tamper));
}

bool corrupt(const CompletedOperation& operation, Corruption corruption) {
  const Bytes before = bytes_of(operation.received);
  switch (corruption) {
    case Corruption::kDrop:
      overwrite(operation.received, Bytes(before.size()));
      overwrite(operation.received, operation.contributed);
      break;
    case Corruption::kScale:
      scale(operation.received);
      break;
    case Corruption::kSwap:
      swap_places(operation.received);
      break;
    case Corruption::kStale:
      overwrite(operation.received, operation.previous);
      break;
  }
  const std::byte* old = before.data();
  return !std::all_of(operation.received.begin(), operation.received.end(), [&](const auto& now) {
    return equal(now, std::exchange(old, old + now.bytes()));
  });
}

}  // namespace enodia

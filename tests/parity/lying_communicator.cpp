#include "tests/parity/lying_communicator.h"

#include <cstddef>
#include <utility>

namespace enodia {
namespace {

bool is_floating(const Buffer& buffer) {
  return buffer.dtype == DType::kFloat32 || buffer.dtype == DType::kFloat64;
}

class LyingCommunicator : public Communicator {
 public:
  LyingCommunicator(std::unique_ptr<Communicator> inner, Traffic traffic, Lie lie)
      : inner_(std::move(inner)),
        traffic_(traffic),
        lie_(std::move(lie)) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  std::span<const int> nodes() const override { return inner_->nodes(); }
  void barrier() override { inner_->barrier(); }
  Work broadcast(Buffer inout, int root, const Queue& after) override {
    return inner_->broadcast(inout, root, after);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_lying(inner_->split(color, key), traffic_, lie_);
  }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override {
    inner_->exchange(sends, receives, after).wait();
    bool floating = false;
    std::vector<Buffer> from_others;
    for (const auto& [peer, buffer, part] : receives) {
      floating = floating || is_floating(buffer);
      if (is_floating(buffer) && peer != rank()) {
        from_others.push_back(buffer);
      }
    }
    for (const auto& [peer, buffer, part] : sends) {
      floating = floating || is_floating(buffer);
    }
    if (floating) {
      lie_({traffic_, calls_++, from_others, {}});
    }
    return {};
  }

  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override {
    const auto* first = static_cast<const std::byte*>(inout.data);
    const std::vector<std::byte> contributed(first, first + inout.bytes());
    inner_->all_reduce(inout, op, after).wait();
    if (is_floating(inout)) {
      lie_({traffic_, calls_++, std::span<const Buffer>(&inout, 1), contributed});
    }
    return {};
  }

 private:
  std::unique_ptr<Communicator> inner_;
  Traffic traffic_;
  Lie lie_;
  int64_t calls_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> make_lying(std::unique_ptr<Communicator> inner,
                                         Traffic traffic,
                                         Lie lie) {
  return std::make_unique<LyingCommunicator>(std::move(inner), traffic, std::move(lie));
}

}  // namespace enodia

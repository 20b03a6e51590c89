#include "collectives/decorators/by_memory.h"

#include <algorithm>
#include <utility>

#include "collectives/queue_event.h"
#include "common/check.h"

namespace enodia {
namespace {

class ByMemory : public Communicator {
 public:
  ByMemory(std::unique_ptr<Communicator> host, std::unique_ptr<Communicator> device)
      : host_(std::move(host)),
        device_(std::move(device)) {}

  int rank() const override { return host_->rank(); }
  int world_size() const override { return host_->world_size(); }
  std::span<const int> nodes() const override { return host_->nodes(); }

  Work exchange(std::span<const Message> sends,
                std::span<const Message> receives,
                const Queue& after) override {
    const int64_t on_device = count_on_device(sends) + count_on_device(receives);
    const int64_t all = std::ssize(sends) + std::ssize(receives);
    check_one_memory(on_device, all);
    const bool is_devices = all > 0 ? on_device > 0 : !is_host(after);
    return (is_devices ? device_ : host_)->exchange(sends, receives, after);
  }
  /// All rounds go to one of them: to the device's when a message of any lies there.
  Work exchange_in_rounds(std::vector<ExchangeRound> rounds, const Queue& after) override {
    int64_t on_device = 0;
    int64_t all = 0;
    for (const ExchangeRound& round : rounds) {
      on_device += count_on_device(round.sends) + count_on_device(round.receives);
      all += std::ssize(round.sends) + std::ssize(round.receives);
    }
    check_one_memory(on_device, all);
    const bool is_devices = all > 0 ? on_device > 0 : !is_host(after);
    return (is_devices ? device_ : host_)->exchange_in_rounds(std::move(rounds), after);
  }
  Work all_reduce(Buffer inout, ReduceOp op, const Queue& after) override {
    return for_buffer(inout).all_reduce(inout, op, after);
  }
  Work broadcast(Buffer inout, int root, const Queue& after) override {
    return for_buffer(inout).broadcast(inout, root, after);
  }
  void barrier() override { host_->barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    auto host = host_->split(color, key);
    return make_by_memory(std::move(host), device_->split(color, key));
  }

 private:
  static void check_one_memory(int64_t on_device, int64_t all) {
    ENODIA_CHECK(
        on_device == 0 || on_device == all,
        on_device,
        " of the ",
        all,
        " messages of an exchange are in memory of a device; exchange those of the host by "
        "themselves");
  }
  static int64_t count_on_device(std::span<const Message> messages) {
    return std::count_if(messages.begin(), messages.end(), [](const Message& message) {
      return message.buffer.device >= 0;
    });
  }
  Communicator& for_buffer(const Buffer& buffer) { return buffer.device >= 0 ? *device_ : *host_; }

  std::unique_ptr<Communicator> host_, device_;
};

}  // namespace

std::unique_ptr<Communicator> make_by_memory(std::unique_ptr<Communicator> host,
                                             std::unique_ptr<Communicator> device) {
  return std::make_unique<ByMemory>(std::move(host), std::move(device));
}

}  // namespace enodia

#include "collectives/nccl/nccl_enqueuer.h"

#include <array>
#include <span>
#include <vector>

#include "collectives/collectives.h"
#include "common/check.h"

namespace enodia {
namespace {

uint64_t mix(uint64_t digest, std::string_view text) {
  for (const char letter : text) {
    digest = (digest ^ static_cast<uint8_t>(letter)) * 1099511628211u;  // FNV-1a
  }
  return (digest ^ 0xFF) * 1099511628211u;  // "ab", "c" is not "a", "bc"
}

}  // namespace

void NcclEnqueuer::enqueue(std::string_view communicator,
                           std::string_view operation,
                           const std::function<void()>& launch) {
  const std::lock_guard lock(mutex_);
  if (launches_ == 0) {
    thread_ = std::this_thread::get_id();
  }
  ENODIA_CHECK(thread_ == std::this_thread::get_id(),
               operation,
               " on the communicator ",
               communicator,
               ": another thread has launched NCCL operations on this device; launch all from one, "
               "whose order is the same on all ranks");
  ++launches_;
  digest_ = mix(mix(digest_, communicator), operation);
  launch();
}

int64_t NcclEnqueuer::launches() const {
  const std::lock_guard lock(mutex_);
  return launches_;
}

uint64_t NcclEnqueuer::digest() const {
  const std::lock_guard lock(mutex_);
  return digest_;
}

void check_launch_order(const NcclEnqueuer& enqueuer, Communicator& host) {
  std::array<int64_t, 2> mine{enqueuer.launches(), static_cast<int64_t>(enqueuer.digest())};
  std::vector<int64_t> all(2 * static_cast<size_t>(host.world_size()));
  all_gather(host, view(std::span<int64_t>(mine)), view(std::span(all))).wait();
  for (int rank = 1; rank < host.world_size(); ++rank) {
    if (all[2 * rank] != all[0] || all[2 * rank + 1] != all[1]) {
      throw CommError(detail::concat("rank ",
                                     rank,
                                     " has launched other NCCL operations (",
                                     all[2 * rank],
                                     ") than rank 0 (",
                                     all[0],
                                     "), or in another order; all ranks must launch the same"));
    }
  }
}

}  // namespace enodia

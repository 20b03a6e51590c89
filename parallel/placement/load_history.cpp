#include "parallel/placement/load_history.h"

#include <algorithm>

#include "common/check.h"

namespace enodia {
namespace {

constexpr int64_t kMostOfLayer = int64_t{1} << 60;  // leaves room for more

}  // namespace

void LoadHistory::add(std::span<const int64_t> tokens) {
  constexpr int64_t kForgotten = 8;
  auto next = tokens.begin();
  for (std::vector<int64_t>& layer : loads_) {
    ENODIA_CHECK(tokens.end() - next >= std::ssize(layer), "a load of fewer experts");
    for (int64_t& load : layer) {
      load += *next++ - load / kForgotten;
    }
  }
  ENODIA_CHECK(next == tokens.end(), "a load of more experts");
}

bool LoadHistory::restore(const ExpertLoads& saved) {
  const bool fits = std::equal(
      saved.begin(), saved.end(), loads_.begin(), loads_.end(), [](const auto& a, const auto& b) {
        const auto most = kMostOfLayer / std::max<int64_t>(std::ssize(a), 1);
        return a.size() == b.size() && std::all_of(a.begin(), a.end(), [most](int64_t load) {
                 return load >= 0 && load <= most;
               });
      });
  if (fits) {
    loads_ = saved;
  }
  return fits;
}

}  // namespace enodia

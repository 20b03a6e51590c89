#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace enodia {

/// One list of the steps of several pieces: step i of piece p starts at time p + i, new pieces
/// first, so that one piece is on its way while those before it are worked on. `Step::after`
/// becomes the place of the step before of the same piece, -1 for a first one.
template <typename Step>
std::vector<Step> pipelined(std::vector<std::vector<Step>> pieces) {
  size_t longest = 0;
  for (const std::vector<Step>& steps : pieces) {
    longest = std::max(longest, steps.size());
  }
  std::vector<Step> order;
  std::vector<int> last(pieces.size(), -1);
  for (size_t time = 0; time + 1 < pieces.size() + longest; ++time) {
    for (size_t i = 0; i <= time && i < longest; ++i) {
      const size_t piece = time - i;
      if (piece < pieces.size() && i < pieces[piece].size()) {
        Step& step = order.emplace_back(std::move(pieces[piece][i]));
        step.after = std::exchange(last[piece], static_cast<int>(order.size()) - 1);
      }
    }
  }
  return order;
}

}  // namespace enodia

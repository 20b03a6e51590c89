#include "tests/parity/covering_design.h"

#include <cstddef>
#include <set>
#include <tuple>

namespace enodia {
namespace {

/// Level a of factor f together with level b of a later factor g.
using Pair = std::tuple<size_t, int, size_t, int>;

std::set<Pair> all_pairs(const std::vector<int>& levels) {
  std::set<Pair> pairs;
  for (size_t f = 0; f < levels.size(); ++f) {
    for (size_t g = f + 1; g < levels.size(); ++g) {
      for (int a = 0; a < levels[f]; ++a) {
        for (int b = 0; b < levels[g]; ++b) {
          pairs.emplace(f, a, g, b);
        }
      }
    }
  }
  return pairs;
}

/// Pairs that are still to be covered and that a level of a factor makes with the factors chosen.
int gain(const std::set<Pair>& missing, const std::vector<int>& row, size_t factor, int level) {
  int count = 0;
  for (size_t other = 0; other < row.size(); ++other) {
    if (other != factor && row[other] >= 0) {
      count += static_cast<int>(other < factor ? missing.count({other, row[other], factor, level})
                                               : missing.count({factor, level, other, row[other]}));
    }
  }
  return count;
}

}  // namespace

std::vector<std::vector<int>> covering_design(const std::vector<int>& levels) {
  std::set<Pair> missing = all_pairs(levels);
  std::vector<std::vector<int>> rows;
  while (!missing.empty() || rows.empty()) {
    std::vector<int> row(levels.size(), -1);
    if (!missing.empty()) {
      const auto& [f, a, g, b] = *missing.begin();
      row[f] = a;
      row[g] = b;
    }
    for (size_t factor = 0; factor < levels.size(); ++factor) {
      // Where levels are equally good, another one goes first in each row.
      int best = -1;
      for (int i = 0; row[factor] < 0 && i < levels[factor]; ++i) {
        const int level = static_cast<int>((i + rows.size()) % levels[factor]);
        if (best < 0 || gain(missing, row, factor, level) > gain(missing, row, factor, best)) {
          best = level;
        }
      }
      row[factor] = row[factor] < 0 ? best : row[factor];
    }
    for (size_t f = 0; f < levels.size(); ++f) {
      for (size_t g = f + 1; g < levels.size(); ++g) {
        missing.erase({f, row[f], g, row[g]});
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace enodia

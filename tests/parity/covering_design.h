#pragma once

#include <vector>

namespace enodia {

/// Rows of a covering design of strength two: for any two factors each pair of their levels is in
/// some row. levels[f] is the number of levels of factor f, at least one; a row has a level of each
/// factor, from 0. Greedy (Cohen et al. 1997, "The AETG system"), the same rows every time.
std::vector<std::vector<int>> covering_design(const std::vector<int>& levels);

}  // namespace enodia

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/placement/layer_plan.h"

namespace enodia {

/// Token copies of each expert on each node, [nodes, experts].
class NodeCounts {
 public:
  /// Of no tokens.
  NodeCounts(int num_nodes, int num_experts);
  NodeCounts(const LayerCounts& counts, const Topology& topology);
  /// Other counts in the same memory, with rows of ranks or of nodes.
  void assign(const LayerCounts& counts, const Topology& topology);
  /// The same of tokens(cell), cells [nodes, experts].
  template <typename Tokens>
  void assign(Tokens tokens) {
    for (size_t cell = 0; cell < tokens_.size(); ++cell) {
      tokens_[cell] = tokens(cell);
    }
    sum_up();
  }

  int num_nodes() const { return static_cast<int>(tokens_.size()) / num_experts_; }
  int num_experts() const { return num_experts_; }
  int64_t of(int node, int expert) const { return tokens_[node * num_experts_ + expert]; }
  /// [nodes, experts]
  std::span<const int32_t> tokens() const { return tokens_; }
  /// [experts] of a node.
  std::span<const int32_t> of_node(int node) const {
    return std::span(tokens_).subspan(static_cast<size_t>(node) * num_experts_, num_experts_);
  }
  /// Of an expert on all nodes.
  int64_t of_expert(int expert) const { return of_expert_[expert]; }
  /// Of all experts on a node.
  int64_t of_all(int node) const { return of_all_[node]; }
  int64_t total() const { return total_; }

 private:
  void sum_up();

  int num_experts_;
  std::vector<int32_t> tokens_;
  std::vector<int64_t> of_expert_, of_all_;
  int64_t total_ = 0;
};

}  // namespace enodia

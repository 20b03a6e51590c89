#pragma once

#include <functional>
#include <memory>

#include "models/block.h"
#include "models/flops.h"

namespace enodia {

/// Stands for a processor: where it computes a rank sleeps for as long as the operations would take
/// it. Nothing is computed, so numbers that come of it mean nothing; time does. Local.
class VirtualCompute {
 public:
  /// `dilation` times as long as at `flops_per_s`.
  VirtualCompute(double flops_per_s, double dilation) : seconds_per_flop_(dilation / flops_per_s) {}
  double seconds_of(double flops) const { return seconds_per_flop_ * flops; }
  void spend(double flops) const;

 private:
  double seconds_per_flop_;
};

/// A block without communication whose time passes and whose parameters are there, but which
/// leaves `hidden` and `grad_hidden` as they are.
class VirtualBlock : public Block {
 public:
  /// `flops` of one forward pass over a micro-batch; backward takes twice as many.
  VirtualBlock(std::unique_ptr<Block> real,
               std::shared_ptr<const VirtualCompute> compute,
               std::function<double(const SequenceLayout&)> flops)
      : real_(std::move(real)),
        compute_(std::move(compute)),
        flops_(std::move(flops)) {}
  std::string_view phase_name(int phase) const override { return real_->phase_name(phase); }
  void forward(BlockState& state, int phase) override;
  void backward(BlockState& state, int phase) override;

 private:
  std::unique_ptr<Block> real_;
  std::shared_ptr<const VirtualCompute> compute_;
  std::function<double(const SequenceLayout&)> flops_;
};

}  // namespace enodia

#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace enodia {

/// What a communicator is for. Each purpose has communicators of its own, so that its operations
/// keep their order whatever else is under way; earlier ones are more urgent.
enum class Traffic : uint8_t {
  kControl,    ///< losses, norms, agreements: small, somebody waits for them
  kTensor,     ///< activations inside a tensor-parallel group: the next product waits for them
  kTokens,     ///< token copies, their weights and gradients, to the experts and back
  kReplicas,   ///< weights of experts to their replicas, gradients home to their owners
  kGradients,  ///< dense gradients
};

constexpr std::array kAllTraffic{
    Traffic::kControl, Traffic::kTensor, Traffic::kTokens, Traffic::kReplicas, Traffic::kGradients};

/// "control", "tensor", "tokens", "replicas", "gradients".
constexpr std::string_view name_of(Traffic traffic) {
  constexpr std::array<std::string_view, kAllTraffic.size()> kNames{
      "control", "tensor", "tokens", "replicas", "gradients"};
  return kNames[static_cast<size_t>(traffic)];
}

}  // namespace enodia

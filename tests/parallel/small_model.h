#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "collectives/communicator.h"
#include "collectives/loopback/loopback.h"
#include "parallel/expert_store.h"
#include "parallel/mesh.h"
#include "parallel/parameter_registry.h"

namespace enodia {

inline const std::vector<std::string> kLayers{
    "layers.1.experts", "layers.2.experts", "layers.4.experts"};
constexpr ExpertShape kShape{.hidden_size = 3, .intermediate_size = 2};

/// Where experts live: at all homes, or with their owners alone.
enum class HomesOf : uint8_t { kEveryGroup, kOwners };

inline std::vector<StaticLayer> place(int num_experts, int ep, int world_size, HomesOf homes) {
  std::vector<StaticLayer> layers =
      static_placement(static_cast<int>(kLayers.size()), num_experts, ep, world_size);
  return homes == HomesOf::kOwners ? without_replicas(std::move(layers)) : layers;
}

/// One rank's parameters: a dense stack, a norm, and three layers of experts.
struct Model {
  Model(Communicator& world,
        int ep,
        int num_experts,
        at::ScalarType type = at::kFloat,
        const ScheduleRule& rule = {},
        HomesOf homes = HomesOf::kEveryGroup,
        int stripes = 1)
      : mesh(world, {.dp = world.world_size(), .ep = ep}),
        registry(world.rank(), world.world_size(), type),
        stack(registry.add_dense({{"q.weight", 4}, {"k.weight", 2}}, 5)),
        norm(registry.add_dense(
            {{"norm.weight", 7}}, 0, {.decays = false, .initializer = Initializer::kOnes})),
        bias(registry.add_dense(
            {{"a.bias", 3}}, 0, {.decays = false, .initializer = Initializer::kZeros})),
        store(mesh,
              registry,
              kLayers,
              place(num_experts, ep, world.world_size(), homes),
              {kShape.hidden_size, kShape.intermediate_size, stripes},
              rule) {
    registry.allocate();
  }
  ProcessMesh mesh;
  ParameterRegistry registry;
  const DenseParameter &stack, &norm, &bias;
  ExpertStore store;
};

inline std::string expert_name(int layer, int expert, const char* matrix) {
  return kLayers[layer] + "." + std::to_string(expert) + "." + matrix + "_proj.weight";
}

/// What one rank alone initializes: the masters by name.
inline std::map<std::string, at::Tensor> masters_of_one_rank(int experts, uint64_t seed) {
  const auto world = make_single_rank_communicator();
  Model model(*world, 1, experts);
  model.registry.initialize(seed, 0.02);
  std::map<std::string, at::Tensor> masters;
  for (const LogicalParameter& parameter : model.registry.parameters()) {
    masters[parameter.name] = parameter.column("master").clone();
  }
  return masters;
}

}  // namespace enodia

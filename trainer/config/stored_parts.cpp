#include "trainer/config/stored_parts.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {
namespace {

const YamlNode* find(const YamlNode* map, std::string_view key) {
  if (map == nullptr || map->kind != YamlNode::Kind::kMap) {
    return nullptr;
  }
  const auto found = std::find_if(
      map->items.begin(), map->items.end(), [&](const YamlNode& item) { return item.key == key; });
  return found == map->items.end() ? nullptr : &*found;
}

void add_name(const YamlNode* chosen, std::vector<std::string>& names) {
  if (chosen != nullptr && chosen->kind == YamlNode::Kind::kScalar && is_part_name(chosen->text) &&
      std::find(names.begin(), names.end(), chosen->text) == names.end()) {
    names.push_back(chosen->text);
  }
}

}  // namespace

PartNames list_stored_parts(const YamlNode& root) {
  PartNames stored;
  const YamlNode* model = find(&root, "model");
  add_name(find(model, "attention"), stored.attentions);
  add_name(find(model, "router"), stored.routers);
  add_name(find(find(&root, "train"), "loss"), stored.losses);
  const YamlNode* parts = find(&root, "parts");
  if (parts != nullptr && parts->kind == YamlNode::Kind::kMap) {
    for (const YamlNode& setting : parts->items) {
      if (is_part_name(setting.key)) {
        stored.settings[setting.key];
      }
    }
  }
  return stored;
}

}  // namespace enodia

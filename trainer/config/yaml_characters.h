#pragma once

#include <optional>
#include <string_view>

#include "trainer/config/yaml_tree.h"

namespace enodia {

/// The first thing in a text that must not even reach the YAML parser: bytes that are not UTF-8,
/// control characters, tabs as indentation.
std::optional<YamlComplaint> find_bad_characters(std::string_view text);

}  // namespace enodia

#pragma once

#include "models/model_options.h"
#include "trainer/config/yaml_tree.h"

namespace enodia {

/// The parts that a stored configuration chooses and the keys of its section `parts`, whichever
/// program wrote it: what it says of them can be read by a program that does not have them. The
/// names of built-in parts are always among them.
PartNames list_stored_parts(const YamlNode& root);

}  // namespace enodia

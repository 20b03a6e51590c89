#pragma once

#include <string>
#include <vector>

namespace enodia {

/// A node of a YAML document with its place. Lines and columns (in bytes) count from 1.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap, kRefused };  ///< refused: reported already

  Kind kind = Kind::kNull;
  std::string text;             ///< of a scalar
  bool quoted = false;          ///< the scalar stood in quotes or is a block: never a number
  std::vector<YamlNode> items;  ///< of a list, or the values of a map in written order
  std::string key;              ///< this node's key in the map that holds it
  int key_line = 0;
  int key_column = 0;
  int line = 0;
  int column = 0;
};

struct YamlComplaint {
  int line = 0;  ///< 0 = the text as a whole
  int column = 0;
  std::string sentence;
};

/// What parse_yaml makes of a text: a tree and what was refused in it. After a complaint that stops
/// the parser the tree is empty (kind kRefused).
struct YamlTree {
  YamlNode root;
  std::vector<YamlComplaint> complaints;
};

/// Parses one YAML document of at most 1 MiB. Refused with a sentence: bytes that are not UTF-8
/// text, tabs as indentation, nesting deeper than 16, several documents, anchors, aliases, tags,
/// merge keys, keys that are not plain text, duplicate keys, quotes left open, and whatever YAML
/// itself forbids. Never throws but for lack of memory, whatever the bytes are.
YamlTree parse_yaml(const std::string& text);

}  // namespace enodia

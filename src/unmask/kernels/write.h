#pragma once

namespace unmask {

// What becomes of results. As wide as an int: a byte among a tile's arguments on the stack is read
// wider than it was written, for which processors wait (4 % of the time of experts).
enum class Write {
  set,     // c =
  add,     // c +=
  stream,  // c =, past the caches where it is whole lines of them: nothing is read, and nothing
           // near is displaced by what will not be read soon
};

// Of results that are read again at once.
constexpr Write kept_near(Write write) { return write == Write::stream ? Write::set : write; }

}  // namespace unmask

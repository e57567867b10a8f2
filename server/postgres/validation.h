// How a connection shows that it is fit to be lent.
#pragma once

#include <string>

namespace pglessor::postgres {

struct Validation {
  std::string query =
      {};  // empty = the empty query: it goes all the way to the backend and does nothing there
  std::string expect =
      {};  // the first field of the first row; empty = whatever it answers, if it is no error

  friend bool operator==(const Validation&, const Validation&) = default;
};

}  // namespace pglessor::postgres

// Prometheus' text format, read as strictly as Prometheus and its promtool do.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace pglessor::test {

class Exposition {
 public:
  explicit Exposition(const std::string& text);

  // What is wrong with it, a line each: of form (a family without HELP or TYPE, a series twice, a bad escape)
  // and of names (a counter that does not end in _total).
  const std::vector<std::string>& faults() const { return faults_; }

  // By series as it is written: name{label="value"}.
  const std::map<std::string, double>& series() const { return series_; }
  // Fails the test if there is none.
  double Value(const std::string& series) const;

 private:
  struct Family {
    std::string name;
    std::string type;
    bool has_help = false;
    bool has_samples = false;
  };

  void Comment(const std::string& line);
  void Sample(const std::string& line);
  void Fault(const std::string& line, const std::string& what);
  // The family that a line of this name begins or goes on with.
  Family& FamilyOf(const std::string& name, const std::string& line);

  std::vector<Family> families_;
  std::map<std::string, double> series_;
  std::vector<std::string> faults_;
};

}  // namespace pglessor::test

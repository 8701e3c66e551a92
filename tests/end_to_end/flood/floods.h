// The floods, one each for every way in which a peer may ask for more than it pays.

#ifndef RELAY_TESTS_END_TO_END_FLOOD_FLOODS_H_
#define RELAY_TESTS_END_TO_END_FLOOD_FLOODS_H_

#include <vector>

#include "attacker.h"

namespace flood {

std::vector<Flood> AllFloods();

}  // namespace flood

#endif  // RELAY_TESTS_END_TO_END_FLOOD_FLOODS_H_

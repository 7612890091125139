// A place between two steps where another thread may come in. Nothing in the product; the thread tests, compiled with
// TANDEM_SEAMS, yield or sleep there at random (test/native/threads/), so that orders come up that load alone never
// brings.
#pragma once

namespace tandem {

#ifdef TANDEM_SEAMS
void seam();
#else
inline void seam() {}
#endif

}  // namespace tandem

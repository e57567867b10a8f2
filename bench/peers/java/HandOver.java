import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/**
 * P2a's peer in Java: acquire + release of HikariCP. A pool of 20.
 *
 * <p>script/bench P2a runs it beside ours; it prints what bench/in_process/hand_over.cc does. A caller is a
 * thread here; one that barges in does not wait, whoever came before.
 */
public final class HandOver {
  private static final int CONNECTIONS = 20;
  private static final long CELL_MILLIS = 300;
  private static volatile boolean stop;

  private static double measure(HikariDataSource pool, int callers, boolean yielding) throws Exception {
    AtomicLong pairs = new AtomicLong();
    List<Thread> threads = new ArrayList<>();
    stop = false;
    long start = System.nanoTime();
    for (int i = 0; i < callers; ++i) {
      Thread thread =
          new Thread(
              () -> {
                long own = 0;
                for (; !stop; ++own) {
                  try (Connection connection = pool.getConnection()) {
                    if (yielding) Thread.yield();
                  } catch (Exception failed) {
                    throw new IllegalStateException(failed);
                  }
                }
                pairs.addAndGet(own);
              });
      thread.start();
      threads.add(thread);
    }
    Thread.sleep(CELL_MILLIS);
    stop = true;
    for (Thread thread : threads) thread.join();
    return (double) (System.nanoTime() - start) / pairs.get();
  }

  public static void main(String[] arguments) throws Exception {
    try (HikariDataSource pool = Pools.hikari(CONNECTIONS)) {
      // The compiler's warm-up.
      for (int i = 0; i < 3; ++i) measure(pool, 2, false);
      for (int callers : new int[] {1, 2, 16, 64}) {
        System.out.printf("%d callers\tHikariCP\t%.3f%n", callers, measure(pool, callers, false));
        System.out.printf("%d callers, yielding\tHikariCP\t%.3f%n", callers, measure(pool, callers, true));
      }
    }
  }
}

import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * P3's peer in Java: 64 threads on 10 connections of HikariCP, each holds for 1 ms, for two seconds.
 *
 * <p>script/bench P3 runs it beside ours; it prints what bench/fairness/fairness.cc does.
 */
public final class Fairness {
  private static final int THREADS = 64;
  private static final int CONNECTIONS = 10;
  private static final long RUN_MILLIS = 2_000;
  private static volatile boolean stop;

  /** How long each thread waited each time, in microseconds. */
  private static List<List<Double>> measure(HikariDataSource pool, long millis) throws Exception {
    List<List<Double>> waits = new ArrayList<>();
    List<Thread> threads = new ArrayList<>();
    stop = false;
    for (int i = 0; i < THREADS; ++i) {
      List<Double> own = new ArrayList<>();
      waits.add(own);
      Thread thread =
          new Thread(
              () -> {
                while (!stop) {
                  long start = System.nanoTime();
                  try (Connection connection = pool.getConnection()) {
                    own.add((System.nanoTime() - start) / 1e3);
                    Thread.sleep(1);
                  } catch (Exception failed) {
                    throw new IllegalStateException(failed);
                  }
                }
              });
      thread.start();
      threads.add(thread);
    }
    Thread.sleep(millis);
    stop = true;
    for (Thread thread : threads) thread.join();
    return waits;
  }

  public static void main(String[] arguments) throws Exception {
    try (HikariDataSource pool = Pools.hikari(CONNECTIONS)) {
      measure(pool, 300); // the compiler's warm-up
      List<List<Double>> waits = measure(pool, RUN_MILLIS);
      double[] all = waits.stream().flatMap(List::stream).mapToDouble(Double::doubleValue).toArray();
      Arrays.sort(all);
      int least = waits.stream().mapToInt(List::size).min().getAsInt();
      int most = waits.stream().mapToInt(List::size).max().getAsInt();
      System.out.printf("wait p50, us\tHikariCP\t%.3f%n", all[(all.length - 1) * 50 / 100]);
      System.out.printf("wait p99, us\tHikariCP\t%.3f%n", all[(int) ((all.length - 1) * 99L / 100)]);
      System.out.printf("most / least served\tHikariCP\t%.3f%n", (double) most / Math.max(least, 1));
    }
  }
}

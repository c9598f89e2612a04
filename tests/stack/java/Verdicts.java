import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.avro.Schema;

/** Reads a schema a line, and prints for each whether Avro's parser takes it: `true` or `false`. */
public class Verdicts {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(isValid(line));
        }
    }

    private static boolean isValid(String schema) {
        try {
            new Schema.Parser().parse(schema);
            return true;
        } catch (RuntimeException error) {  // the parser throws many kinds
            return false;
        }
    }
}

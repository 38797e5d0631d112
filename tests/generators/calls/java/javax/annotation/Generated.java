// Stands in for the library that has this annotation; the others are in the generator's own archive.

package javax.annotation;

public @interface Generated {
    String[] value();

    String date() default "";

    String comments() default "";
}

package program.html;

import static program.html.Html.text;

import module java.base;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;

/** The words of all parts of all pages, for the search in the theme's script. */
public final class SearchIndex {
    private SearchIndex() {}

    public static String of(Collection<Page> pages) throws JsonProcessingException {
        List<List<String>> rows = Part.of(pages).parallelStream()
                .map(part -> List.of(part.href(), text(part.page().title()), part.title(), text(part.html()))).toList();
        return "window.BOOK_INDEX=" + new ObjectMapper().writeValueAsString(rows).replace("],[", "],\n[") + ";\n";
    }
}

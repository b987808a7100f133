package program.macro;

import static program.html.Html.escape;

import module java.base;

import com.sun.source.doctree.DocCommentTree;
import com.sun.source.doctree.DocTree;
import com.sun.source.doctree.EndElementTree;
import com.sun.source.doctree.EntityTree;
import com.sun.source.doctree.LinkTree;
import com.sun.source.doctree.LiteralTree;
import com.sun.source.doctree.ParamTree;
import com.sun.source.doctree.ReturnTree;
import com.sun.source.doctree.StartElementTree;
import com.sun.source.doctree.TextTree;
import com.sun.source.doctree.ThrowsTree;
import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.ModifiersTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.DocTrees;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreePath;
import javax.lang.model.element.Modifier;
import javax.tools.ToolProvider;
import program.html.JavaColours;

/** The public API of a source file, with its javadoc, as HTML. */

final class Api {
    private static final int WIDEST_SIGNATURE = 74;

    private final boolean packageToo;
    private final String source;
    private final CompilationUnitTree unit;
    private final DocTrees trees;

    Api(Path file, boolean packageToo) throws IOException {
        this.packageToo = packageToo;
        this.source = Files.readString(file);
        var compiler = ToolProvider.getSystemJavaCompiler();
        try (var manager = compiler.getStandardFileManager(null, null, null)) {
            var sources = manager.getJavaFileObjects(file);
            var task = (JavacTask) compiler.getTask(null, manager, _ -> {}, null, null, sources);
            unit = task.parse().iterator().next();
            trees = DocTrees.instance(task);
        }
    }

    String html() throws IOException {
        for (Tree type : unit.getTypeDecls()) {
            if (type instanceof ClassTree c && visible(c.getModifiers(), null)) {
                return "<dl>\n" + typeEntry(c) + "</dl>\n";
            }
        }
        throw new IOException("it has no public type");
    }

    private String typeEntry(ClassTree type) {
        var members = new StringBuilder();
        type.getMembers().forEach(member -> members.append(memberEntry(type, member)));
        String list = members.isEmpty() ? "" : "<dl>\n" + members + "</dl>\n";
        String signature = code(head(type), type.getSimpleName());
        return "<dt>%s</dt>\n<dd>%s%s</dd>\n".formatted(signature, javadoc(type), list);
    }

    private String memberEntry(ClassTree owner, Tree member) {
        return switch (member) {
            case ClassTree type when visible(type.getModifiers(), owner) -> typeEntry(type);
            case VariableTree constant when isConstant(owner, constant) ->
                    entry(constant.getName().toString(), constant.getName(), member);
            case VariableTree field when visible(field.getModifiers(), owner) && !isComponent(owner, field) ->
                    entry(headOf(field, field.getInitializer()).replace(" =", ""), field.getName(), field);
            case MethodTree method when visible(method.getModifiers(), owner) && !isCanonical(owner, method) ->
                    entry(headOf(method, method.getBody()), name(owner, method), method);
            default -> "";
        };
    }

    /** Without a description of its own, even an empty one, a member would share that of the next. */
    private String entry(String signature, CharSequence name, Tree member) {
        return "<dt>" + code(signature, name) + "</dt>\n<dd>" + javadoc(member) + "</dd>\n";
    }

    private static boolean isConstant(ClassTree owner, VariableTree field) {
        return owner.getKind() == Tree.Kind.ENUM
                && owner.getSimpleName().contentEquals(field.getType().toString());
    }

    private static CharSequence name(ClassTree owner, MethodTree method) {
        return method.getName().contentEquals("<init>") ? owner.getSimpleName() : method.getName();
    }

    /** The checking constructor of a record says nothing that its header does not say. */
    private static boolean isCanonical(ClassTree owner, MethodTree method) {
        return owner.getKind() == Tree.Kind.RECORD && method.getName().contentEquals("<init>");
    }

    private static boolean isComponent(ClassTree owner, VariableTree field) {
        return owner.getKind() == Tree.Kind.RECORD && !field.getModifiers().getFlags().contains(Modifier.STATIC);
    }

    private boolean visible(ModifiersTree modifiers, ClassTree owner) {
        var flags = modifiers.getFlags();
        boolean inside = owner != null && !flags.contains(Modifier.PRIVATE);
        return flags.contains(Modifier.PUBLIC) || flags.contains(Modifier.PROTECTED)
                || inside && (packageToo || owner.getKind() == Tree.Kind.INTERFACE);
    }

    /** The text of a declaration up to its body, as the author wrote it. */
    private String head(ClassTree type) {
        return between(start(type), source.indexOf('{', (int) Math.max(start(type), end(type.getModifiers()))));
    }

    private String headOf(Tree member, Tree body) {
        return between(start(member), body == null ? end(member) : start(body));
    }

    private long start(Tree tree) {
        return trees.getSourcePositions().getStartPosition(unit, tree);
    }

    private long end(Tree tree) {
        return trees.getSourcePositions().getEndPosition(unit, tree);
    }

    private String between(long start, long end) {
        return source.substring((int) start, (int) end)
                .replaceAll("//.*|(?s)/\\*.*?\\*/", " ").replaceAll("@\\w+(\\(.*?\\))?\\s+", "")
                .replaceAll("\\s+", " ").replaceFirst(";\\s*$", "").replaceFirst("^public ", "").strip();
    }

    private static String code(String signature, CharSequence name) {
        int open = signature.indexOf('(');
        int close = signature.lastIndexOf(')');
        String text = signature;
        if (signature.length() > WIDEST_SIGNATURE && open > 0) {    // one parameter a line
            String parameters = signature.substring(open + 1, close).strip()
                    .replaceAll(",\\s*(?![^<]*>)", ",\n    ");
            text = signature.substring(0, open + 1) + "\n    " + parameters + signature.substring(close);
        }
        String html = JavaColours.keywords(escape(text));
        String word = "\\b" + Pattern.quote(name.toString()) + "\\b";
        return "<code>" + html.replaceFirst(word, "<b>$0</b>") + "</code>";
    }

    private String javadoc(Tree member) {
        DocCommentTree comment = trees.getDocCommentTree(TreePath.getPath(unit, member));
        if (comment == null) {
            return "";
        }
        String body = ("<p>" + inline(comment.getFullBody()) + "</p>").replaceAll("<p>\\s*</p>", "");
        String tags = comment.getBlockTags().stream().map(Api::blockTag).collect(Collectors.joining());
        return body + (tags.isEmpty() ? "" : "\n<dl class='tags'>\n" + tags + "</dl>\n");
    }

    private static String blockTag(DocTree tag) {
        return switch (tag) {
            case ParamTree p -> tag(code(p.getName()), inline(p.getDescription()));
            case ReturnTree r -> tag("returns", inline(r.getDescription()));
            case ThrowsTree t -> tag("throws " + code(t.getExceptionName()), inline(t.getDescription()));
            default -> "";
        };
    }

    private static String code(DocTree tree) {
        return "<code>" + escape(tree.toString().strip()) + "</code>";
    }

    private static String tag(String name, String text) {
        return "<dt>%s</dt><dd>%s</dd>\n".formatted(name, text);
    }

    private static String inline(List<? extends DocTree> parts) {
        return parts.stream().map(Api::inline).collect(Collectors.joining());
    }

    private static String inline(DocTree part) {
        return switch (part) {
            case TextTree text -> escape(text.getBody());
            case LiteralTree literal when literal.getKind() == DocTree.Kind.CODE -> code(literal.getBody());
            case LiteralTree literal -> escape(literal.getBody().getBody());
            case LinkTree link when !link.getLabel().isEmpty() -> inline(link.getLabel());
            case LinkTree link -> code(link.getReference()).replace(">#", ">").replace('#', '.');
            case EntityTree entity -> entity.toString();
            case StartElementTree element when element.getName().contentEquals("p") -> "</p><p>";
            case EndElementTree element when element.getName().contentEquals("p") -> "";
            case StartElementTree element when isBlock(element.getName()) -> "</p><" + element.getName() + ">";
            case EndElementTree element when isBlock(element.getName()) -> "</" + element.getName() + "><p>";
            case StartElementTree element -> "<" + element.getName() + ">";
            case EndElementTree element -> "</" + element.getName() + ">";
            default -> escape(part.toString());
        };
    }

    private static boolean isBlock(CharSequence element) {
        return Set.of("ul", "ol", "dl", "pre").contains(element.toString());
    }
}

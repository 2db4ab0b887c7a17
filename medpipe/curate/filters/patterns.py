"""What texts of medicine from the web say when they say nothing, as regular expressions."""

from __future__ import annotations


def _any_of(*patterns: str) -> str:
    return "(?i)" + "|".join(patterns)


_ONE = r"(?:一(?:个|名|款|位|种))?"
_MODEL = r"(?:AI|人工智能|语言模型|聊天机器人|智能助手|虚拟助手)"
_MODEL_EN = r"(?:ai|artificial intelligence|(?:large )?language model|chat ?bot)"
SELF_DISCLOSURE = _any_of(
    rf"作为{_ONE}[^，。！？,\n]{{0,10}}?{_MODEL}",
    rf"我(?:只|仅)?是{_ONE}[^，。！？,\n]{{0,10}}?{_MODEL}",
    rf"\bas an? {_MODEL_EN}\b",
    rf"\bi(?:['’]| a)m (?:just |only )?an? {_MODEL_EN}\b",
)
"""A model names itself."""

_SORRY = r"(?:很|非常|十分|真的|我很|我非常|我)?(?:抱歉|对不起|不好意思|遗憾)"
_CANNOT = (
    r"(?:无法|不能|不会|没有办法|没办法|没有能力|不可以|不便)[^，。！？,\n]{0,12}?"
    r"(?:回答|提供|给出|完成|满足|诊断|执行|浏览|访问|协助|帮助|讨论|评价|评估|预测|确定|判断|理解|处理|查看|开具|推荐"
    r"|建议|生成|看到|获取|知道|得知|了解|分析|解释|查询)"
)
_ABOUT_ITSELF = (
    rf"(?:(?:{_SORRY})[，,]?)?(?:作为|我(?:只|仅)?是){_ONE}[^，。！？,\n]{{0,10}}?{_MODEL}"
    r"[^。！？\n]{0,40}?"
)
_NOT_GIVEN = (
    r"(?:您|你)(?:好像|似乎)?(?:并|还)?(?:没有|没|未)(?:能)?(?:向我)?(?:提供|给出|告诉|说明|上传|附上)"
)
REFUSAL = (
    r"(?i)\A[\s\W]*(?:(?:您好|你好|(?:非常|十分)?感谢[^，,。！？\n]{0,12})[，,！!。\s]*(?:但是?)?)?(?:"
    + "|".join(
        (
            rf"{_SORRY}[^。！？\n]{{0,40}}?{_CANNOT}",
            rf"{_ABOUT_ITSELF}(?:无法|不能|不会|没有|不具备|不应|并不)",
            rf"(?:我|目前)[^，。！？,\n]{{0,6}}?{_CANNOT}",
            rf"(?:{_SORRY}[，,])?{_NOT_GIVEN}",
            r"(?:i(?:['’]| a)m )?(?:very |so |really )?(?:sorry|apologi[sz]e|afraid)\b[^.!?\n]{0,60}?"
            r"\b(?:can['’]?t|cannot|can not|unable|not able|don['’]t have)\b",
            rf"as an? {_MODEL_EN}\b[^.!?\n]{{0,20}}?"
            r"\bi (?:can['’]?t|cannot|can not|am unable|don['’]t|do not)\b",
            r"i (?:can['’]?t|cannot|can not|am unable to|am not able to) "
            r"(?:provide|answer|assist|help|give|diagnose|fulfill|offer)\b",
        )
    )
    + ")"
)
"""An answer that starts by declining to answer."""
_CLAUSE = r"(?:[^。！？!?.\n]|\.[0-9A-Za-z])*"
DECLINING = (
    rf"(?i){_CLAUSE}?(?:"
    + "|".join(
        (
            rf"抱歉|对不起|{_CANNOT}|{_MODEL}",
            _NOT_GIVEN,
            r"(?:请|建议)[^。！？!?\n]{0,16}?(?:咨询|联系|询问|求助|查阅|查询|查找|查看|搜索|参考|访问|指定)",
            r"(?:请|能否|可以|如果(?:您|你)(?:能|可以|愿意)?)[^。！？!?\n]{0,8}?(?:提供|告诉|描述|上传|补充)",
            r"如(?:果)?(?:您|你)?(?:还)?有(?:任何|其他|其它|什么|别的|更多)",
            r"(?:很)?(?:乐意|高兴|愿意)[^。！？!?\n]{0,12}?(?:帮助|协助|回答|解答|服务)|我可以回答"
            r"|我(?:会|将)(?:尽力|更好|很)|我的(?:职责|任务|目的|目标)是|我专注于",
            r"祝(?:您|你)",
            rf"\b(?:sorry|apologi[sz]e|afraid|{_MODEL_EN})\b",
            r"\bi (?:can['’]?t|cannot|can not|am unable|am not able|don['’]t have)\b",
            r"\b(?:please|recommend|suggest|advise|should)\b[^.!?\n]{0,40}?"
            r"\b(?:consult|contact|ask|speak|talk|see|visit|seek|provide)\b",
            r"\b(?:let me know|feel free|happy to (?:help|assist))\b",
        )
    )
    + rf"){_CLAUSE}"
)
"""A sentence that declines, sends elsewhere, asks for more or offers help: all that a mere refusal says."""

_YOU = r"(?:您|你)?"
BOILERPLATE = _any_of(
    rf"(?:非常|十分)?(?:感谢|谢谢){_YOU}(?:的|对我们?的)?(?:咨询|信任|提问|使用|支持|来信|阅读)",
    r"(?:病情资料)?我已(?:经)?详细阅读",
    rf"(?:最后)?祝(?:愿)?{_YOU}(?:和家人|和宝宝|全家|一切|宝宝|患者)?(?:身体|早日|生活|工作)?"
    r"(?:健康|康复|恢复健康|愉快|顺利|幸福)",
    r"(?:以上|希望)[^。！？\n]{0,30}?(?:能够?|可以)?(?:对(?:您|你)(?:能够?)?有所?帮助|帮(?:到|助)(?:到)?(?:您|你))",
    r"以上是对[“\"][^”\"\n]{0,80}[”\"]这个问题的(?:建议|回答|解答)",
    rf"欢迎{_YOU}(?:再次|再来|继续|随时|常来)?(?:咨询|提问|来访|光临)",
    rf"如(?:果|有)?{_YOU}(?:还)?有?(?:其他|其它|任何|什么)?(?:的)?(?:疑问|疑虑|不明白|问题)"
    r"[^。！？\n]{0,10}?(?:随时|继续|再次|可以|请)[^。！？\n]{0,6}?(?:咨询|提问|联系|告诉我|追问|询问)",
    r"(?:请问)?(?:还)?有什么(?:可以|能)(?:帮|为)(?:到|助)?(?:您|你)(?:的|服务|解答)?(?:吗)?",
    r"(?:请)?(?:及时)?采纳(?:我的)?(?:答案|回答)?|望采纳",
    r"不客气|您好|你好|谢谢(?:您|你|医生|大夫)?",
    r"thank(?:s| you)(?: very much| so much)? for (?:asking|using|contacting|writing|choosing|posting"
    r"|your (?:question|query|trust|message))[^.!?\n]{0,40}",
    r"(?:i )?hope (?:this|that|it|i have|i've|my answer|these)[^.!?\n]{0,20}?"
    r"(?:helps?|answered|useful|helpful)[^.!?\n]{0,40}",
    r"welcome to (?:healthcare ?magic|hcm|chat ?doctor|icliniq)[^.!?\n]{0,20}",
    r"wish(?:ing)? you (?:all the best|good health|a (?:speedy|quick) recovery|the best)[^.!?\n]{0,20}",
    r"(?:please )?(?:let me know|feel free to (?:ask|write|contact))[^.!?\n]{0,60}",
    r"you(?:['’]re| are) (?:most )?welcome|take care|best regards|warm regards",
)
BOILERPLATE_WORDS = (
    r"咨询|感谢|谢谢|祝|对您|对你|帮到|帮助|采纳|不客气|随时|详细阅读|有什么"
    r"|[Tt]hank|[Hh]ope|[Ww]elcome|[Ww]ish|[Ll]et me know|[Ff]eel free|[Tt]ake care|[Rr]egards"
)
"""One of these stands in every text that has more boilerplate than a greeting; a fast first search."""

_FIELDS = (
    r"医生询问|医生建议|医生回答|病情分析|指导意见|意见建议|处理建议|治疗建议|问题分析|问题描述|病情描述|温馨提示|生活护理"
    r"|最佳答案|专家回答|答案|回答|建议|答"
)
DANGLING_LABEL = rf"(?:{_FIELDS})[：:]\s*\z|(?:医生询问|指导意见|意见建议|病情分析)\s*\z"
OPEN_END = r"[：:，,、（(“‘《]\s*\z"
TEASER = (
    r"(?i)(?:[\[【(（<]?(?:(?:阅读|查看|点击|展开|显示)(?:全文|更多|详情|全部|原文|内容|阅读)|>>更多)[\]】)）>]*|未完待续|\[详细\]"
    r"|read (?:the )?(?:more|full (?:article|story|text))|continue reading"
    r"|click (?:here )?to (?:read|view|expand)[^\n]{0,20})[\s.…。>»]*\z"
)

ADVERTISEMENT = _any_of(
    r"(?:电话|热线|拨打|致电|手机|联系方式)[^。\n]{0,8}?\+?\d[\d-]{6,}",
    r"(?:微信|薇信|威信|v信|vx|QQ|扣扣|q群|企鹅)(?:号|群)?\s*[:：]?\s*[a-z]*[_-]?\d{5,}",
    r"(?:添?加|关注)(?:我|个|老师|医生|专家|客服)?(?:的)?(?:微信|薇信|QQ|vx)|扫(?:描|码|一扫).{0,8}(?:二维码|关注|咨询)",
    r"关注.{0,12}?公众号",
    r"(?:免费|在线|网上|点击)(?:咨询|领取|试用|体验|购买|下单)|(?:立即|马上)(?:领取|试用|购买|下单)",
    r"(?:咨询|预约|客服|免费)(?:热线|电话)",
    r"货到付款|包邮|限时(?:优惠|特价|抢购)|厂家直销|签约治疗|无效退款|祖传秘方|代理加盟",
    r"click here|buy now|order (?:now|online|today)|free (?:shipping|consultation|trial)",
    r"call (?:us )?(?:now|today)|limited time offer|money[- ]back|subscribe (?:now|to our)",
    r"(?:cheap|discount) (?:generic )?(?:viagra|cialis|pills)",
)
"""Whom to call, where to click, what to buy."""

LINK = r"(?i)\A\W*(?:https?://|www\.)\S+\W*\z"
TRIPLE = (
    r"\A[^。；;，,！？!?\n：:]{1,40}的[^。；;，,！？!?\n：:是]{1,16}(?:是|为|包括|有)[^。；;！？!?\n]{1,120}[。.]?\z"
    r"|\A[A-Z][^.:;!?\n]{1,60}: [^.:;!?\n]{1,200}\.?\z"
)
"""One statement of a knowledge graph as a sentence, see `normalize.layouts.triples`."""
GRAPH_QUESTION = (
    r"\A[^。；;，,！？!?\n：:]{1,40}(?:的|有|属于|是|需要|可以|应该|吃)[^。；;！？!?\n：:]{0,12}"
    r"(?:有些什么|是什么|有哪些|什么|哪些|哪个科室|多久|多少)[？?]?\s*\z"
)
"""A question made from a knowledge graph by template."""

LOREM_IPSUM = r"(?i)lorem ipsum"
JAVASCRIPT = r"(?i)javascript"
POLICY = (
    r"(?i)terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
    r"|隐私政策|使用条款|免责声明|版权所有"
)
